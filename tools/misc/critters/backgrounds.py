"""Scenery: textured ground, a second region, and distractors with strong edges that are no animal.

Colours are RGB float32, 0..255; sizes in supersampled pixels. Distractors are of earth colours, with
the markings of the animals; some wear the animals' fur too, so that fur alone does not make an animal.
"""
from __future__ import annotations

import cv2
import numpy as np

from .textures import COAT_COLOURS, COAT_STYLES, EARTH_COLOURS, coat, fractal_noise, mix, ramp, stretch, value_noise

PALETTES = {
    'grass': [(52, 84, 34), (86, 122, 50), (126, 150, 72)],
    'sand': [(176, 150, 104), (204, 180, 134), (226, 208, 168)],
    'rock': [(84, 82, 80), (122, 118, 114), (158, 154, 148)],
    'leaves': [(62, 44, 28), (120, 80, 38), (164, 120, 60)],
    'snow': [(196, 206, 218), (224, 230, 236), (246, 247, 250)],
    'water': [(48, 84, 110), (58, 100, 126), (76, 118, 142)],
    'moss': [(34, 52, 40), (58, 84, 58), (88, 112, 84)],
    'clay': [(122, 66, 48), (150, 88, 62), (178, 116, 86)],
}
FURRY_DISTRACTORS = 0.15  # share of the stones and logs that wear the animals' fur
TEXTURES = ('clouds', 'strokes', 'pebbles', 'ripples', 'planks')


def texture(rng, shape, unit, name, colours):
    """One procedural texture.

    Args:
        rng (np.random.Generator): Source of randomness.
        shape (tuple[int, int]): (H, W).
        unit (float): Length of one percent of the image side, in pixels.
        name (str): One of ``TEXTURES``.
        colours (np.ndarray): (K, 3) RGB from dark to light.

    Returns:
        np.ndarray: (H, W, 3) float32.
    """
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    broad = fractal_noise(rng, shape, 30 * unit, 3)
    fine = value_noise(rng, shape, 1.6 * unit)
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 9) * unit
    across = x * np.cos(angle) + y * np.sin(angle)
    if name == 'strokes':
        blades = cv2.resize(value_noise(rng, (height // 6 + 1, width), 1.3 * unit), (width, height))
        tone = 0.45 * broad + 0.45 * blades + 0.1 * fine
    elif name == 'pebbles':
        tone = 0.35 * broad + 0.65 * _cells(rng, shape, rng.uniform(6, 11) * unit)
    elif name == 'ripples':
        tone = 0.5 * broad + 0.3 * (0.5 + 0.5 * np.sin(2 * np.pi * across / period + 7 * broad)) + 0.2 * fine
    elif name == 'planks':
        phase = np.mod(across / (2 * period), 1)
        grain = 0.5 + 0.5 * np.sin(9 * broad + across * 4 / period)
        tone = np.where(phase < 0.06, 0.0, 0.3 + 0.3 * broad + 0.25 * grain + 0.15 * fine)
    else:
        tone = 0.65 * broad + 0.35 * fine
    return ramp(0.5 + 0.7 * (stretch(tone, 0.15, 0.85) - 0.5), colours)


def _cells(rng, shape, cell):
    """Pebbles: 1 at the heart of each cell of a jittered grid, 0 at its border; (H, W)."""
    height, width = shape
    seeds = np.full(shape, 255, np.uint8)
    rows, cols = int(height / cell) + 1, int(width / cell) + 1
    jitter = rng.random((rows, cols, 2))
    for row in range(rows):
        for col in range(cols):
            point = (np.array([row, col]) + jitter[row, col]) * cell
            seeds[min(int(point[0]), height - 1), min(int(point[1]), width - 1)] = 0
    distance = cv2.distanceTransform(seeds, cv2.DIST_L2, 3)
    return 1 - np.clip(distance / (0.75 * cell), 0, 1)


def scenery(rng, shape, unit):
    """Ground and, two times in three, a second region (a bank, a wall, the horizon).

    Returns:
        tuple[np.ndarray, np.ndarray]: image (H, W, 3) float32, and the (K, 3) middle colours to stand out from.
    """
    height, width = shape
    names = rng.choice(sorted(PALETTES), size=2, replace=False)
    palettes = [np.array(PALETTES[name], np.float32) + rng.normal(0, 8, 3) for name in names]
    layers = [texture(rng, shape, unit, rng.choice(TEXTURES), palette) for palette in palettes]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    slope, level = rng.uniform(-0.35, 0.35), rng.uniform(0.2, 0.5) if rng.random() < 0.67 else -2.0
    wave = fractal_noise(rng, shape, 22 * unit, 2) - 0.5
    line = y / height - level - slope * (x / width - 0.5) - 0.18 * wave
    image = mix(layers[0], layers[1], stretch(-line, -0.005, 0.005))
    seen = palettes[:1] if level < -1 else palettes
    return image, np.array([palette[1] for palette in seen])


def add_distractors(rng, image, unit):
    """Draw stones, logs, leaf rosettes and flowers onto ``image`` in place."""
    drawers = (_stone, _stone, _log, _rosette, _flower)
    for kind in rng.integers(len(drawers), size=rng.integers(3, 7)):
        centre = rng.uniform(0, 1, 2) * image.shape[1::-1]
        drawers[kind](rng, image, unit, centre)


def _stamp(rng, image, outline, unit, colours=None, height=0.55):
    """Fill a polygon with a coat or one colour, shaded from its rim inwards, with a shadow below."""
    rows, cols = image.shape[:2]
    outline = np.round(outline).astype(np.int32)
    pad = int(2 * unit) + 2
    x1, y1 = np.maximum(outline.min(0) - pad, 0)
    x2, y2 = np.minimum(outline.max(0) + pad, (cols, rows))
    if x2 <= x1 or y2 <= y1:
        return
    window = image[y1:y2, x1:x2]
    mask = np.zeros(window.shape[:2], np.uint8)
    cv2.fillPoly(mask, [outline - (x1, y1)], 1)
    shadow = cv2.GaussianBlur(np.roll(mask, int(unit), 0).astype(np.float32), (0, 0), max(unit, 0.5))
    window *= (1 - 0.3 * shadow * (1 - mask))[..., None]
    if colours is None:
        colours = COAT_COLOURS if rng.random() < FURRY_DISTRACTORS else EARTH_COLOURS
        base = colours[rng.integers(len(colours))]
        y, x = np.mgrid[:mask.shape[0], :mask.shape[1]].astype(np.float32) / (18 * unit)
        fill = coat(rng, x, y, 18 * unit, base, base * rng.uniform(0.5, 0.7), rng.choice(COAT_STYLES))
    else:
        fill = np.broadcast_to(np.asarray(colours, np.float32), window.shape)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    light = 1 - height + height * np.sqrt(np.clip(depth / (5 * unit), 0, 1))
    window[mask > 0] = np.clip(fill * light[..., None], 0, 255)[mask > 0]


def _blob(rng, centre, radius, roughness=0.16, points=40):
    """A rounded, irregular outline; (points, 2)."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    reach = 1 + sum(rng.normal(0, roughness / (k + 1)) * np.cos((k + 2) * angle + rng.uniform(0, 6.3))
                    for k in range(3))
    axes = radius * np.array([1, rng.uniform(0.55, 1)])
    return centre + axes * (reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1))


def _stone(rng, image, unit, centre):
    _stamp(rng, image, _blob(rng, centre, rng.uniform(4, 13) * unit), unit)


def _log(rng, image, unit, centre):
    angle, length, width = rng.uniform(-0.6, 0.6), rng.uniform(10, 24) * unit, rng.uniform(2, 4.5) * unit
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    corners = [centre + s * length * along + t * width * across for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    _stamp(rng, image, np.array(corners), unit)
    disc = _blob(rng, centre + length * along, width, 0.05)
    _stamp(rng, image, disc, unit, (190, 156, 110), 0.2)


def _rosette(rng, image, unit, centre):
    length, colour = rng.uniform(6, 13) * unit, np.array(PALETTES['grass'][rng.integers(3)]) * rng.uniform(0.7, 1.2)
    for angle in rng.uniform(-np.pi, 0.2, rng.integers(4, 9)):
        step = np.array([np.cos(angle), np.sin(angle)])
        share = np.linspace(0, 1, 12)
        spine = centre + length * (share[:, None] * step + 0.25 * share[:, None] ** 2 * np.array([0, 1]))
        side = np.array([-step[1], step[0]]) * (0.16 * length * np.sin(np.pi * share))[:, None]
        _stamp(rng, image, np.concatenate([spine + side, (spine - side)[::-1]]), unit,
               colour * rng.uniform(0.8, 1.2), 0.35)


def _flower(rng, image, unit, centre):
    colour = np.array([(226, 60, 60), (236, 190, 60), (240, 240, 236), (200, 90, 180), (240, 150, 60),
                       (90, 130, 220)])[rng.integers(6)]
    radius = rng.uniform(0.9, 1.6) * unit
    for angle in np.arange(5) * 2 * np.pi / 5 + rng.uniform(0, 6):
        petal = centre + 1.1 * radius * np.array([np.cos(angle), np.sin(angle)])
        _stamp(rng, image, _blob(rng, petal, radius, 0.03, 12), unit, colour, 0.2)
    _stamp(rng, image, _blob(rng, centre, 0.6 * radius, 0.03, 12), unit, (250, 220, 90), 0.2)
