"""The body: a class-free, articulated animal as a signed distance field.

Body frame: unit = about half a torso; x forward (to the head), y down; the torso's centre is (0, 0).
A distance is negative inside. Nothing in this module knows the class of the animal.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SKULL_RADIUS = (0.38, 0.46)
HEAD_ZONE = 1.85  # radius of the disc that bounds every head, in skull radii


@dataclass(frozen=True)
class Body:
    """Joints and thicknesses of one animal, in body units.

    Attributes:
        torso (tuple): Tapered capsules (start, end, start radius, end radius) joined smoothly: torso, neck
            and the near legs.
        far (tuple): Tapered capsules behind the torso: far legs and tail.
        head_centre (np.ndarray): (2,) centre of the skull.
        head_angle (float): Radians by which the head's nose points below the x axis.
        skull_radius (float): Radius of the skull; everything of the head lies within ``HEAD_ZONE`` times it.
    """
    torso: tuple
    far: tuple
    head_centre: np.ndarray
    head_angle: float
    skull_radius: float

    def extent(self):
        """Box around everything, head zone included: (x1, y1, x2, y2)."""
        boxes = [(*(self.head_centre - HEAD_ZONE * self.skull_radius),
                  *(self.head_centre + HEAD_ZONE * self.skull_radius))]
        for start, end, radius, other in self.torso + self.far:
            reach = max(radius, other) + 0.05
            boxes.append((*(np.minimum(start, end) - reach), *(np.maximum(start, end) + reach)))
        boxes = np.array(boxes)
        return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])


def direction(angle):
    """Unit vector at ``angle`` radians, turning from forward to down."""
    return np.array([np.cos(angle), np.sin(angle)])


def sample_body(rng):
    """Draw an animal: a quadruped or, one time in four, an upright biped.

    Args:
        rng (np.random.Generator): Source of randomness; always the same number of draws.

    Returns:
        Body: The animal.
    """
    draw = rng.uniform
    biped = draw() < 0.25
    length, chest = draw(0.5, 0.85), draw(0.5, 0.66)
    hip = chest * draw(0.78, 1.02)
    pitch = -draw(0.35, 0.7) if biped else -draw(-0.08, 0.16)
    front, rear = length * direction(pitch), -length * direction(pitch)
    parts = [(rear, front, hip, chest)]

    neck_angle, neck_length = -draw(0.2, 1.25), draw(0.3, 0.75)
    neck_start = front + 0.25 * chest * direction(neck_angle)
    neck_end = neck_start + (0.55 * chest + neck_length) * direction(neck_angle)
    neck_width = draw(0.2, 0.3)
    parts.append((neck_start, neck_end, neck_width + 0.08, neck_width))

    leg_length, leg_width = draw(0.4, 0.8), draw(0.17, 0.23)
    gait, stride = draw(0, 2 * np.pi), draw(0.1, 0.55)
    roots = [0.1 * front, 0.1 * front] if biped else [front, front, rear, rear]
    far = []
    for index, root in enumerate(roots):
        near = index % 2 == 0
        swing = stride * np.sin(gait + np.pi * index + 0.7 * (index // 2)) + draw(-0.08, 0.08)
        hock = draw(0.1, 0.45) * (1 if index < 2 else -1)
        top = root + np.array([0.0 if near else 0.12, 0.45 * chest])
        knee = top + 0.55 * leg_length * direction(np.pi / 2 + swing)
        foot = knee + 0.5 * leg_length * direction(np.pi / 2 + swing + hock)
        toe = foot + np.array([0.13, 0.02])
        (parts if near else far).extend([(top, knee, 1.45 * leg_width, leg_width),
                                         (knee, foot, leg_width, 0.8 * leg_width),
                                         (foot, toe, 0.8 * leg_width, 0.7 * leg_width)])
    far.extend(_tail(rng, rear, hip))

    skull = draw(*SKULL_RADIUS)
    head = neck_end + 0.35 * skull * direction(neck_angle)
    return Body(tuple(parts), tuple(far), head, draw(-0.35, 0.4), skull)


def _tail(rng, rear, hip):
    """Four capsules that bend evenly."""
    angle, bend = np.pi + rng.uniform(-0.7, 0.9), rng.uniform(-0.5, 0.5)
    length, width = rng.uniform(0.1, 0.26), rng.uniform(0.1, 0.18)
    joint, parts = rear + 0.7 * hip * direction(angle), []
    for index in range(4):
        end = joint + length * direction(angle)
        parts.append((joint, end, width * (1 - 0.12 * index), width * (1 - 0.12 * (index + 1))))
        joint, angle = end, angle + bend
    return parts


def capsule(x, y, start, end, radius, other):
    """Distance to a tapered capsule; ``x``, ``y`` (H, W), ``start``, ``end`` (2,); returns (H, W)."""
    x1, y1, x2, y2 = map(float, (*start, *end))  # Python numbers keep float32 arrays float32
    radius, other = float(radius), float(other)
    step_x, step_y = x2 - x1, y2 - y1
    squared = max(step_x ** 2 + step_y ** 2, 1e-12)
    from_x, from_y = x - x1, y - y1
    share = np.clip((step_x * from_x + step_y * from_y) / squared, 0, 1)
    from_x -= step_x * share
    from_y -= step_y * share
    return np.sqrt(from_x ** 2 + from_y ** 2) - (radius + share * (other - radius))


def smooth_min(first, second, blend):
    """Polynomial smooth minimum: joins two shapes with a fillet of width ``blend``."""
    share = np.clip(0.5 + 0.5 * (second - first) / blend, 0, 1)
    return second + (first - second) * share - blend * share * (1 - share)


def body_distance(body, x, y):
    """Signed distances of the two layers of a body.

    Args:
        body (Body): The animal.
        x (np.ndarray): (H, W) float32 body coordinates.
        y (np.ndarray): (H, W) float32 body coordinates.

    Returns:
        tuple[np.ndarray, np.ndarray]: near layer (torso, neck, near legs) and far layer, (H, W) each.
    """
    near = None
    for part in body.torso:
        distance = capsule(x, y, *part)
        near = distance if near is None else smooth_min(near, distance, 0.14)
    far = None
    for part in body.far:
        distance = capsule(x, y, *part)
        far = distance if far is None else np.minimum(far, distance)
    return near, far
