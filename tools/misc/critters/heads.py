"""The six heads: the only part of an animal in which its class can be seen.

Head frame: unit = skull radius, x to the nose, y down, (0, 0) the centre of the skull. All heads share the
skull, which wears the coat of the body; ears, horns, beaks, combs and face markings are the class's own.
"""
from __future__ import annotations

import numpy as np

from .anatomy import HEAD_ZONE, capsule

CLASSES = ('badger', 'boar', 'hare', 'ram', 'rooster', 'toucan')

WHITE, BLACK, IVORY = (240, 238, 230), (26, 24, 28), (236, 214, 150)
PINK, RED, YELLOW = (246, 150, 170), (212, 28, 36), (244, 200, 40)
ORANGE, BLUE, VIOLET = (246, 140, 20), (40, 140, 230), (186, 60, 170)


class HeadPainter:
    """Paints shapes in the head frame onto a sprite; clips everything to the head zone.

    Args:
        colour (np.ndarray): (H, W, 3) float32 sprite, changed in place.
        mask (np.ndarray): (H, W) bool, silhouette of the sprite, changed in place.
        x (np.ndarray): (H, W) head coordinate to the nose.
        y (np.ndarray): (H, W) head coordinate downwards.
        rng (np.random.Generator): Jitters the colours.
    """

    def __init__(self, colour, mask, x, y, rng):
        self.colour, self.mask, self.x, self.y, self.rng = colour, mask, x, y, rng
        self.zone = np.hypot(x, y) < HEAD_ZONE
        self.painted = np.zeros_like(mask)

    def paint(self, distance, colour, within=None, shade=0.25):
        """Fill where ``distance`` < 0 (and ``within``), a little darker towards the rim."""
        where = (distance < 0) & self.zone
        if within is not None:
            where &= within
        jittered = np.clip(np.asarray(colour, np.float32) + self.rng.normal(0, 7, 3), 5, 250)
        light = 1 - shade + shade * np.sqrt(np.clip(-distance[where] / 0.25, 0, 1))
        self.colour[where] = jittered * light[:, None]
        self.mask |= where
        self.painted |= where
        return where

    def line(self, start, end, radius, other, colour, **kwargs):
        """A tapered capsule."""
        return self.paint(capsule(self.x, self.y, start, end, radius, other), colour, **kwargs)

    def disc(self, centre, radius, colour, squeeze=1.0, **kwargs):
        """An ellipse of half width ``radius`` and half height ``radius * squeeze``."""
        distance = np.sqrt((self.x - centre[0]) ** 2 + ((self.y - centre[1]) / squeeze) ** 2) - radius
        return self.paint(distance, colour, **kwargs)

    def eye(self, centre=(0.3, -0.22), radius=0.17):
        """A dark eye with a light."""
        self.disc(centre, radius, BLACK, shade=0)
        self.disc((centre[0] + 0.05, centre[1] - 0.06), 0.35 * radius, WHITE, shade=0)


def skull_distance(x, y):
    """Signed distance of the skull that all classes share: a ball with a short muzzle; (H, W)."""
    return np.minimum(np.hypot(x, y) - 1, capsule(x, y, (0.3, 0.2), (0.85, 0.3), 0.62, 0.4))


def _badger(painter, skull):
    face = skull < 0
    painter.disc((-0.62, -0.85), 0.34, BLACK)
    painter.line((-0.9, -0.25), (1.3, 0.2), 0.62, 0.35, WHITE, within=face)
    painter.line((-0.95, -0.42), (1.25, 0.06), 0.25, 0.14, BLACK, within=face, shade=0)
    painter.line((-0.9, 0.3), (1.1, 0.48), 0.22, 0.12, BLACK, within=face, shade=0)
    painter.disc((1.2, 0.26), 0.2, BLACK)
    painter.disc((0.35, -0.15), 0.09, WHITE, shade=0)


def _boar(painter, skull):
    painter.line((-0.5, -0.65), (-0.8, -1.45), 0.4, 0.1, PINK)
    painter.line((0.15, -0.8), (0.2, -1.55), 0.36, 0.08, PINK)
    painter.disc((0.95, 0.25), 0.6, PINK, squeeze=1.1)
    for centre in ((0.8, 0.25), (1.2, 0.25)):
        painter.disc(centre, 0.14, (92, 30, 48), squeeze=1.7, shade=0)
    painter.line((0.55, 0.9), (0.98, 0.5), 0.13, 0.05, WHITE, shade=0)
    painter.eye((0.1, -0.3))


def _hare(painter, skull):
    for root, tip in (((-0.5, -0.6), (-1.05, -1.35)), ((0.1, -0.8), (0.05, -1.58))):
        painter.line(root, tip, 0.3, 0.24, WHITE)
        painter.line(root, tip, 0.15, 0.12, VIOLET, shade=0)
    painter.disc((0.75, 0.38), 0.48, WHITE)
    painter.disc((1.16, 0.08), 0.16, VIOLET, shade=0)
    painter.line((0.85, 0.8), (0.87, 1.0), 0.12, 0.12, WHITE, shade=0)
    painter.eye((0.2, -0.2), 0.22)


def _ram(painter, skull):
    x, y = painter.x + 0.42, painter.y + 0.2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    horn = painter.paint(np.abs(radius - (0.62 + 0.1 * angle / np.pi)) - 0.32, IVORY, shade=0.45)
    painter.colour[horn & (np.sin(angle * 14) > 0.55)] *= 0.62
    painter.line((-0.1, -0.95), (0.55, -1.2), 0.28, 0.06, IVORY, shade=0.45)
    painter.disc((1.12, 0.3), 0.2, BLACK, shade=0)
    painter.eye((0.55, -0.2), 0.15)


def _rooster(painter, skull):
    for centre, radius in (((-0.6, -0.95), 0.36), ((-0.05, -1.25), 0.44), ((0.5, -1.0), 0.36)):
        painter.disc(centre, radius, RED)
    painter.line((0.75, 0.75), (0.75, 1.2), 0.24, 0.34, RED)
    painter.line((0.95, 0.15), (1.65, 0.3), 0.4, 0.05, YELLOW)
    painter.disc((0.3, -0.1), 0.4, RED)
    painter.eye((0.32, -0.14))


def _toucan(painter, skull):
    beak = np.minimum(capsule(painter.x, painter.y, (0.6, 0.05), (1.25, 0.1), 0.55, 0.45),
                      capsule(painter.x, painter.y, (1.25, 0.1), (1.6, 0.5), 0.45, 0.16))
    painter.paint(beak, ORANGE)
    painter.paint(beak, BLACK, within=painter.x > 1.35 - 0.15 * painter.y, shade=0)
    painter.line((0.6, 0.2), (1.3, 0.25), 0.07, 0.05, (170, 60, 20), shade=0)
    painter.disc((0.05, -0.3), 0.42, BLUE, shade=0)
    painter.eye((0.05, -0.3))


_PAINTERS = dict(zip(CLASSES, (_badger, _boar, _hare, _ram, _rooster, _toucan)))


def paint_head(name, colour, mask, x, y, rng):
    """Paint the head of a class onto a sprite, in place.

    Args:
        name (str): One of ``CLASSES``.
        colour (np.ndarray): (H, W, 3) float32 RGB sprite.
        mask (np.ndarray): (H, W) bool silhouette.
        x (np.ndarray): (H, W) head coordinate to the nose.
        y (np.ndarray): (H, W) head coordinate downwards.
        rng (np.random.Generator): A generator of the head's own: nothing else may draw from it.

    Returns:
        np.ndarray: (H, W) bool, the pixels of the head.

    Raises:
        KeyError: Unknown class.
    """
    if name not in _PAINTERS:
        raise KeyError(f'unknown critter {name!r}: choose from {", ".join(CLASSES)}')
    painter = HeadPainter(colour, mask, x, y, rng)
    _PAINTERS[name](painter, skull_distance(x, y))
    return painter.painted
