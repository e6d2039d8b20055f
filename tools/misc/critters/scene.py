"""One image: scenery, distractors and 1 to 4 animals with exact instance masks.

Streams of random numbers are separate for the scenery, for each animal's body, for its head's colours and
for the classes: the same state with another class changes pixels inside that animal's head zone only.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .anatomy import HEAD_ZONE, body_distance, sample_body
from .backgrounds import add_distractors, scenery
from .heads import CLASSES, paint_head, skull_distance
from .textures import COAT_STYLES, coat, fractal_noise, pick_coat_colours

SUPERSAMPLING = 3
MAX_ANIMALS = 4
# Length of the longest side of an animal as a share of the image's side, by number of animals.
SCALES = {1: (0.6, 0.95), 2: (0.5, 0.8), 3: (0.45, 0.68), 4: (0.4, 0.6)}
MIN_VISIBLE, MIN_HEAD_VISIBLE = 0.6, 0.85


@dataclass(frozen=True)
class Scene:
    """A rendered image and its ground truth.

    Attributes:
        image (np.ndarray): (S, S, 3) uint8 RGB.
        instances (np.ndarray): (S, S) uint8, 0 background, i + 1 the i-th animal.
        labels (tuple[int, ...]): Index into ``CLASSES`` for each animal.
        head_zones (np.ndarray): (n, S, S) bool: the pixels that an animal's class may influence.
        heads (np.ndarray): (n, S, S) bool: visible pixels of skull, ears, horns, beak and so on.
    """
    image: np.ndarray
    instances: np.ndarray
    labels: tuple
    head_zones: np.ndarray
    heads: np.ndarray

    @property
    def masks(self):
        """(n, S, S) bool, disjoint."""
        return np.stack([self.instances == index + 1 for index in range(len(self.labels))])


@dataclass
class _Sprite:
    """An animal on its own small canvas, in supersampled pixels; (h, w) arrays."""
    colour: np.ndarray
    mask: np.ndarray
    head: np.ndarray
    body: np.ndarray
    zone: np.ndarray
    offset: np.ndarray = None


def render_scene(seed, size=128, labels=None):
    """Draw one image.

    Args:
        seed (int | Sequence[int]): Everything about the image follows from it.
        size (int): Side of the square image in pixels, at least 32.
        labels (Sequence[int] | None): Classes to give to the animals in the order in which they were
            placed (the front one first), instead of the drawn ones; repeated when there are more animals.

    Returns:
        Scene: Image and ground truth.

    Raises:
        ValueError: ``size`` below 32, or ``labels`` empty.
    """
    if size < 32:
        raise ValueError(f'size is {size}; animals cannot be told apart below 32 pixels')
    if labels is not None and not len(labels):
        raise ValueError('labels is empty; give at least one class index, or None to draw them')
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3 + 2 * MAX_ANIMALS)]
    layout, ground, classes = streams[:3]
    bodies, heads = streams[3:3 + MAX_ANIMALS], streams[3 + MAX_ANIMALS:]

    side, unit = size * SUPERSAMPLING, size * SUPERSAMPLING / 100
    image, colours = scenery(ground, (side, side), unit)
    add_distractors(ground, image, unit)
    count = int(layout.choice(np.arange(1, MAX_ANIMALS + 1), p=(0.35, 0.35, 0.2, 0.1)))
    drawn = classes.integers(len(CLASSES), size=MAX_ANIMALS)
    drawn[1:] = np.where(classes.random(MAX_ANIMALS - 1) < 0.25, drawn[0], drawn[1:])
    wanted = drawn if labels is None else np.resize(np.asarray(labels), MAX_ANIMALS)

    sprites, kept = [], []
    for index in range(count):
        share = layout.uniform(*SCALES[count])
        sprite = _draw_animal(bodies[index], heads[index], CLASSES[wanted[index]], share * side, colours)
        if _place(layout, sprite, sprites, side):
            sprites.append(sprite)
            kept.append(int(wanted[index]))
    instances, zones, head_masks = _compose(image, sprites, size)
    return Scene(_expose(ground, image, size), instances, tuple(kept), zones, head_masks)


def _draw_animal(rng, head_rng, name, length, avoid):
    """Draw one animal on its own canvas.

    Args:
        rng (np.random.Generator): Body stream.
        head_rng (np.random.Generator): Stream of the head's colours.
        name (str): Class.
        length (float): Longest side, in supersampled pixels.
        avoid (np.ndarray): (K, 3) colours of the scenery.

    Returns:
        _Sprite: The animal, not yet placed.
    """
    body = sample_body(rng)
    angle, mirror = rng.uniform(-0.5, 0.5), -1 if rng.random() < 0.5 else 1
    base, accent = pick_coat_colours(rng, avoid)
    style, light = COAT_STYLES[rng.integers(len(COAT_STYLES))], rng.uniform(-0.6, 0.6)
    extent = body.extent()
    unit = length / max(extent[2:] - extent[:2])

    corners = np.array([(extent[i], extent[j]) for i in (0, 2) for j in (1, 3)]) * (mirror, 1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = unit * corners @ turn.T
    low, high = np.floor(corners.min(0)), np.ceil(corners.max(0))
    columns, rows = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    points = np.stack([columns, rows], -1) @ turn / unit
    x, y = (mirror * points[..., 0]).astype(np.float32), points[..., 1].astype(np.float32)

    dx, dy = x - body.head_centre[0], y - body.head_centre[1]
    cos, sin = np.cos(body.head_angle), np.sin(body.head_angle)
    head_x = (cos * dx + sin * dy) / body.skull_radius
    head_y = (-sin * dx + cos * dy) / body.skull_radius
    skull = skull_distance(head_x, head_y) * body.skull_radius

    near, far = body_distance(body, x, y)
    near = np.minimum(near, skull)
    mask = (near < 0) | (far < 0)
    fur = coat(rng, x, y, unit, base, accent, style)
    depth = np.where(near < 0, -near, -far)
    tone = 0.8 + 0.2 * np.sqrt(np.clip(depth / 0.22, 0, 1)) + 0.14 * np.clip(light * x - y, -1, 1)
    tone *= np.where(near < 0, 1.0, 0.82)
    colour = fur * tone[..., None]
    silhouette, zone = mask.copy(), np.hypot(head_x, head_y) < HEAD_ZONE
    head = paint_head(name, colour, mask, head_x, head_y, head_rng) | (skull < 0)
    return _Sprite(colour.astype(np.float32), mask, head, silhouette, zone)


def _place(rng, sprite, others, side, tries=60):
    """Find an offset at which the animal stays visible behind the animals placed before it.

    Judged on the class-free body and head zone. Returns False when no try succeeds; the first animal
    is put into the middle then, so that no image is empty.
    """
    covered = np.zeros((side, side), bool)
    for other in others:
        _window(covered, other)[...] |= _clip(other.body | other.zone, other, side)
    height, width = sprite.mask.shape
    whole, head = sprite.body.sum(), (sprite.zone & sprite.body).sum()
    for centre in rng.uniform(0.12, 0.88, (tries, 2)) * side:
        sprite.offset = np.round(centre - (width / 2, height / 2)).astype(int)
        free = ~_window(covered, sprite)
        seen = (_clip(sprite.body, sprite, side) & free).sum()
        seen_head = (_clip(sprite.body & sprite.zone, sprite, side) & free).sum()
        if seen >= MIN_VISIBLE * whole and seen_head >= MIN_HEAD_VISIBLE * head:
            return True
    sprite.offset = np.round((side - np.array([width, height])) / 2).astype(int)
    return not others


def _span(sprite, side):
    """Slices of the part of a sprite that lies in the image: in the image, and in the sprite."""
    height, width = sprite.mask.shape
    x, y = sprite.offset
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + width, side), min(y + height, side)
    x2, y2 = max(x1, x2), max(y1, y2)
    return np.s_[y1:y2, x1:x2], np.s_[y1 - y:y2 - y, x1 - x:x2 - x]


def _window(canvas, sprite):
    """View of the canvas (side, side, ...) under a sprite."""
    return canvas[_span(sprite, canvas.shape[0])[0]]


def _clip(array, sprite, side):
    """The part of a sprite's array that lies in the image."""
    return array[_span(sprite, side)[1]]


def _compose(image, sprites, size):
    """Paint the animals from back to front onto ``image`` in place.

    A final pixel belongs to the layer (an animal or the background) that has most of its subpixels.

    Returns:
        tuple[np.ndarray, np.ndarray, np.ndarray]: instances (S, S) uint8, head zones and heads (n, S, S) bool.
    """
    side, count = image.shape[0], len(sprites)
    owner = np.zeros((side, side), np.uint8)
    zones, heads = np.zeros((count, size, size), bool), np.zeros((count, size, size), bool)
    head = np.zeros((side, side), bool)
    for index in reversed(range(count)):
        sprite = sprites[index]
        mask = _clip(sprite.mask, sprite, side)
        shadow = cv2.GaussianBlur(sprite.body.astype(np.float32), (0, 0), 0.012 * side)
        _window(image, sprite)[...] *= (1 - 0.2 * _clip(shadow, sprite, side))[..., None]
        _window(image, sprite)[mask] = _clip(sprite.colour, sprite, side)[mask]
        _window(owner, sprite)[mask] = index + 1
        _window(head, sprite)[mask] = _clip(sprite.head, sprite, side)[mask]
        zone = np.zeros((side, side), np.float32)
        _window(zone, sprite)[...] = _clip(sprite.zone, sprite, side)
        zones[index] = _shrink(zone, size) > 0
    shares = np.stack([_shrink(owner == index, size) for index in range(count + 1)])
    instances = shares.argmax(0).astype(np.uint8)
    for index in range(count):
        heads[index] = (instances == index + 1) & (_shrink(head & (owner == index + 1), size) * 2 > shares[index + 1])
    return instances, zones, heads


def _shrink(array, size):
    """Mean over the subpixels of each pixel; (S, S) float32."""
    return cv2.resize(array.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)


def _expose(rng, image, size):
    """Uneven light, reduction to the final size, sensor noise; (S, S, 3) uint8."""
    light = 0.82 + 0.36 * fractal_noise(rng, (size, size), 0.6 * size, 1)
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) * light[..., None]
    noise = rng.normal(0, 3, small.shape)
    return np.clip(np.round(small + noise), 0, 255).astype(np.uint8)
