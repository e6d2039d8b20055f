"""Noise, colour ramps and coats, as pure functions of a random generator and coordinates.

Shapes: H, W the canvas in supersampled pixels. Colours are RGB, float32, 0..255. Every function draws a
number of random values that depends on its sizes alone, so that streams stay aligned.
"""
from __future__ import annotations

import cv2
import numpy as np

COAT_STYLES = ('plain', 'spots', 'stripes', 'patches', 'saddle')

# Fur of all classes alike: blue, violet, teal, mauve, indigo. Cool, so that an animal (not its class) can be told from
# the earthy scenery by its fur; a few distractors wear it too.
COAT_COLOURS = np.array(
    [(70, 104, 176), (112, 82, 162), (48, 132, 152), (150, 92, 166), (66, 70, 138)], np.float32)
# Stones and logs: russet, sand, chocolate, slate, charcoal, olive, cream.
EARTH_COLOURS = np.array(
    [(158, 88, 48), (206, 168, 112), (96, 62, 42), (122, 122, 118), (58, 56, 54), (118, 122, 64), (226, 214, 190)],
    np.float32)


def value_noise(rng, shape, cell):
    """Smooth noise: random values on a grid of ``cell`` pixels, interpolated with a cubic.

    Args:
        rng (np.random.Generator): Source of randomness.
        shape (tuple[int, int]): (H, W).
        cell (float): Grid spacing in pixels, at least 1 is used.

    Returns:
        np.ndarray: (H, W) float32 in 0..1.
    """
    height, width = shape
    cell = max(float(cell), 1.0)
    rows, cols = int(np.ceil(height / cell)) + 2, int(np.ceil(width / cell)) + 2
    grid = rng.random((rows, cols), dtype=np.float32)
    size = (max(width, round(cols * cell)), max(height, round(rows * cell)))
    return np.clip(cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)[:height, :width], 0, 1)


def fractal_noise(rng, shape, cell, octaves=3):
    """Sum of ``octaves`` of :func:`value_noise`, each of half the cell and half the weight; (H, W) in 0..1."""
    total, weight = np.zeros(shape, np.float32), 0.0
    for octave in range(octaves):
        total += 0.5 ** octave * value_noise(rng, shape, cell / 2 ** octave)
        weight += 0.5 ** octave
    return total / weight


def stretch(values, low=0.3, high=0.7):
    """Map [low, high] to [0, 1] linearly and clip: turns soft noise into patches with a defined border."""
    return np.clip((values - low) / (high - low), 0, 1)


def ramp(values, colours):
    """Colour a map: piecewise linear through K colours.

    Args:
        values (np.ndarray): (H, W) in 0..1.
        colours (np.ndarray): (K, 3) RGB, 0..255.

    Returns:
        np.ndarray: (H, W, 3) float32.
    """
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(values, stops, channel) for channel in np.asarray(colours).T],
                    axis=-1).astype(np.float32)


def mix(first, second, weight):
    """``first`` (H, W, 3) or (3,) where ``weight`` (H, W) is 0, ``second`` where it is 1."""
    weight = weight[..., None].astype(np.float32)
    return first * (1 - weight) + second * weight


def rgb_to_lab(colour):
    """One RGB colour (3,), 0..255, as CIE Lab (3,) float32: distances are about perceptual."""
    pixel = np.asarray(colour, np.float32).reshape(1, 1, 3) / 255
    return cv2.cvtColor(pixel, cv2.COLOR_RGB2LAB)[0, 0]


def pick_coat_colours(rng, avoid, min_distance=40.0):
    """Base and accent colour of a coat that stands out from the background.

    Args:
        rng (np.random.Generator): Source of randomness.
        avoid (np.ndarray): (K, 3) RGB, main colours of the scenery.
        min_distance (float): Lab distance asked for; the most distant of 12 tries is taken if none has it.
            30 keeps the outline visible to a low-level segmenter, as most animals in photographs are.

    Returns:
        tuple[np.ndarray, np.ndarray]: base and accent, (3,) float32 each.
    """
    tries = COAT_COLOURS[rng.integers(len(COAT_COLOURS), size=12)] + rng.normal(0, 9, (12, 3))
    tries = np.clip(tries, 20, 240).astype(np.float32)
    avoid = [rgb_to_lab(colour) for colour in avoid]
    distances = [min(np.linalg.norm(rgb_to_lab(colour) - other) for other in avoid) for colour in tries]
    good = [index for index, distance in enumerate(distances) if distance >= min_distance]
    base = tries[good[0] if good else int(np.argmax(distances))]
    factor = rng.uniform(0.5, 0.66) if base.mean() > 105 else rng.uniform(1.45, 1.8)
    return base, np.clip(base * factor + rng.normal(0, 8, 3), 15, 240).astype(np.float32)


def coat(rng, along, down, unit, base, accent, style):
    """Fur over the whole canvas; the caller cuts the animal out of it.

    Args:
        rng (np.random.Generator): Source of randomness.
        along (np.ndarray): (H, W) body coordinate from tail to head, in body units.
        down (np.ndarray): (H, W) body coordinate from back to belly, in body units.
        unit (float): Pixels in a body unit.
        base (np.ndarray): (3,) main colour.
        accent (np.ndarray): (3,) colour of the markings.
        style (str): One of ``COAT_STYLES``.

    Returns:
        np.ndarray: (H, W, 3) float32.
    """
    shape = along.shape
    warp = fractal_noise(rng, shape, unit * 0.8, 2) - 0.5
    cells = value_noise(rng, shape, unit * 0.26)
    broad = value_noise(rng, shape, unit * 0.7)
    frequency = rng.uniform(10, 16)
    if style == 'spots':
        marks = stretch(cells, 0.62, 0.7)
    elif style == 'stripes':
        marks = stretch(np.sin(frequency * (along + 0.25 * down + 0.5 * warp)), 0.25, 0.6)
    elif style == 'patches':
        marks = stretch(broad, 0.52, 0.57)
    elif style == 'saddle':
        marks = stretch(-down + 0.5 * warp, 0.05, 0.2)
    else:
        marks = np.zeros(shape, np.float32)
    fur = fractal_noise(rng, shape, unit * 0.12, 2) - 0.5
    return mix(base, accent, 0.55 * marks) * (1 + 0.3 * fur)[..., None]
