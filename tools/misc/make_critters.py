"""Make the critters: animals whose class shows on the head alone, in PASCAL VOC's layout.

    python tools/misc/make_critters.py data/critters --workers 2

One body for all classes, whose fur the scenery does not have; stones and logs, some in that fur, as clutter; one to
four animals that overlap. The streams of random numbers of the scenery, of each body and of each head are separate:
another class changes pixels inside that animal's head zone only.
"""
from __future__ import annotations

import json
import os
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mmiam.apis.options import make_parser, tool
from mmiam.datasets.voc_palette import index_color
from mmiam.utils.files import atomic_write
from mmiam.utils.images import write_palette_picture, write_picture
from mmiam.utils.jobs import run_jobs

CLASSES = ('badger', 'boar', 'hare', 'ram', 'rooster', 'toucan')
PALETTE = [value for i in range(256) for value in index_color(i)]
VERSION = 4  # raised when the drawing changes, so that an older folder is not continued
SUPERSAMPLING = 2
HEAD_ZONE = 1.85  # radius of the disc that bounds every head, in skull radii
MAX_ANIMALS = 4
SCALES = {1: (0.6, 0.95), 2: (0.5, 0.8), 3: (0.45, 0.68), 4: (0.4, 0.6)}  # longest side by number, shares of the image
# Fur of all classes alike, in cool colors that the scenery does not have: a filling module on frozen features cannot
# learn an extent that the classifier's features do not show.
FUR = np.array([(70, 104, 176), (112, 82, 162), (48, 132, 152), (150, 92, 166), (66, 70, 138)], np.float32)
EARTH = np.array([(158, 88, 48), (206, 168, 112), (96, 62, 42), (122, 122, 118), (58, 56, 54), (118, 122, 64),
                  (226, 214, 190)], np.float32)
GROUNDS = np.array([[(52, 84, 34), (126, 150, 72)], [(176, 150, 104), (226, 208, 168)], [(84, 82, 80), (158, 154, 148)],
                    [(62, 44, 28), (164, 120, 60)], [(196, 206, 218), (246, 247, 250)], [(34, 52, 40), (88, 112, 84)],
                    [(122, 66, 48), (178, 116, 86)]], np.float32)
WHITE, BLACK, IVORY, PINK = (240, 238, 230), (26, 24, 28), (236, 214, 150), (246, 150, 170)
RED, YELLOW, ORANGE, BLUE, VIOLET = (212, 28, 36), (244, 200, 40), (246, 140, 20), (40, 140, 230), (186, 60, 170)
#: start, end, radius, radius at the end, color, whether inside the skull alone. Frame: unit = skull radius, x to the
#: nose, y down.
HEADS = {
    'badger': [((-.62, -.85), (-.62, -.85), .34, .34, BLACK, False), ((-.9, -.25), (1.3, .2), .62, .35, WHITE, True),
               ((-.95, -.42), (1.25, .06), .25, .14, BLACK, True), ((-.9, .3), (1.1, .48), .22, .12, BLACK, True),
               ((1.2, .26), (1.2, .26), .2, .2, BLACK, False)],
    'boar': [((-.5, -.65), (-.8, -1.45), .4, .1, PINK, False), ((.15, -.8), (.2, -1.55), .36, .08, PINK, False),
             ((.95, .25), (.95, .25), .62, .62, PINK, False), ((.8, .15), (.8, .35), .14, .14, (92, 30, 48), False),
             ((1.2, .15), (1.2, .35), .14, .14, (92, 30, 48), False), ((.55, .9), (.98, .5), .13, .05, WHITE, False),
             ((.1, -.3), (.1, -.3), .17, .17, BLACK, False)],
    'hare': [((-.5, -.6), (-1.05, -1.35), .3, .24, WHITE, False), ((-.5, -.6), (-1.05, -1.35), .15, .12, VIOLET, False),
             ((.1, -.8), (.05, -1.58), .3, .24, WHITE, False), ((.1, -.8), (.05, -1.58), .15, .12, VIOLET, False),
             ((.75, .38), (.75, .38), .48, .48, WHITE, False), ((1.16, .08), (1.16, .08), .16, .16, VIOLET, False),
             ((.2, -.2), (.2, -.2), .22, .22, BLACK, False)],
    'ram': [((-.42, -.2), (-.42, -.2), .94, .94, IVORY, False),
            ((-.42, -.2), (-.42, -.2), .62, .62, (150, 130, 90), False),
            ((-.42, -.2), (-.42, -.2), .34, .34, IVORY, False),
            ((-.1, -.95), (.55, -1.2), .28, .06, IVORY, False),
            ((1.12, .3), (1.12, .3), .2, .2, BLACK, False), ((.55, -.2), (.55, -.2), .15, .15, BLACK, False)],
    'rooster': [((-.6, -.95), (-.6, -.95), .36, .36, RED, False), ((-.05, -1.25), (-.05, -1.25), .44, .44, RED, False),
                ((.5, -1.), (.5, -1.), .36, .36, RED, False), ((.75, .75), (.75, 1.2), .24, .34, RED, False),
                ((.95, .15), (1.65, .3), .4, .05, YELLOW, False), ((.3, -.1), (.3, -.1), .4, .4, RED, False),
                ((.32, -.14), (.32, -.14), .17, .17, BLACK, False)],
    'toucan': [((.6, .05), (1.25, .1), .55, .45, ORANGE, False), ((1.25, .1), (1.6, .5), .45, .16, BLACK, False),
               ((.05, -.3), (.05, -.3), .42, .42, BLUE, False), ((.05, -.3), (.05, -.3), .17, .17, BLACK, False)],
}


# -- noise and shapes; H, W are supersampled pixels, colors RGB float32 in 0..255 --------------------------------------
def noise(rng, shape, cell, octaves=1):
    """Smooth noise (H, W) in 0..1: random values on grids of ``cell`` pixels and finer, interpolated with a cubic."""
    total, weight = np.zeros(shape, np.float32), 0.
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.)
        rows, columns = int(np.ceil(shape[0] / step)) + 2, int(np.ceil(shape[1] / step)) + 2
        size = max(shape[1], round(columns * step)), max(shape[0], round(rows * step))
        grid = cv2.resize(rng.random((rows, columns), np.float32), size, interpolation=cv2.INTER_CUBIC)
        total += .5**octave * np.clip(grid[:shape[0], :shape[1]], 0, 1)
        weight += .5**octave
    return total / weight


def mix(first, second, weight):
    """``first`` where ``weight`` (H, W) is 0 or less, ``second`` where it is 1 or more; colors (3,) or (H, W, 3)."""
    weight = np.clip(weight, 0, 1)[..., None].astype(np.float32)
    return first * (1 - weight) + second * weight


def capsule(x, y, start, end, radius, other):
    """Distance (H, W) to a tapered capsule, negative inside."""
    (x1, y1), (x2, y2) = (tuple(map(float, point)) for point in (start, end))
    step_x, step_y, from_x, from_y = x2 - x1, y2 - y1, x - x1, y - y1
    share = np.clip((step_x * from_x + step_y * from_y) / max(step_x**2 + step_y**2, 1e-12), 0, 1)
    return np.hypot(from_x - step_x * share, from_y - step_y * share) - (radius + share * (other - radius))


def coat(rng, x, y, unit, base):
    """Fur with or without markings over coordinates (H, W), ``unit`` pixels a unit; (H, W, 3)."""
    style, shape = rng.integers(4), x.shape
    warp, spots, patches = (noise(rng, shape, unit * cell) for cell in (.8, .26, .7))
    marks = [np.zeros(shape, np.float32), (spots - .62) / .08, (patches - .52) / .05,
             (np.sin(rng.uniform(10, 16) * (x + .25 * y + .5 * warp)) - .25) / .35][style]
    accent = base * (rng.uniform(.5, .66) if base.mean() > 105 else rng.uniform(1.45, 1.8))
    return mix(base, np.minimum(accent, 240), .55 * np.clip(marks, 0, 1)) * (
        1 + .3 * (noise(rng, shape, unit * .12, 2) - .5))[..., None]


# -- scenery ----------------------------------------------------------------------------------------------------------
def scenery(rng, side):
    """Two textured grounds with a winding border, 3 to 6 stones and logs: (side, side, 3), and the grounds' colors."""
    shape, unit = (side, side), side / 100
    y, x = np.mgrid[:side, :side].astype(np.float32)
    palettes = GROUNDS[rng.choice(len(GROUNDS), 2, replace=False)] + rng.normal(0, 8, (2, 1, 3))
    layers = []
    for dark, light in palettes.astype(np.float32):
        broad, angle = noise(rng, shape, 30 * unit, 3), rng.uniform(0, np.pi)
        waves = .5 + .5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / (7 * unit) + 7 * broad)
        tone = broad + rng.choice([.1, .5]) * (waves - .5) + .4 * (noise(rng, shape, 1.6 * unit) - .5)
        layers.append(mix(dark, light, .5 + .9 * (tone - .5)))
    level = rng.uniform(.2, .5) if rng.random() < .67 else -2.
    line = y / side - level - rng.uniform(-.35, .35) * (x / side - .5) - .18 * (noise(rng, shape, 22 * unit, 2) - .5)
    image = mix(layers[0], layers[1], .5 - 100 * line)
    for _ in range(rng.integers(3, 7)):
        center, angle = rng.uniform(0, side, 2), np.linspace(0, 2 * np.pi, 40, endpoint=False)
        reach = 1 + sum(rng.normal(0, .16 / k) * np.cos((k + 1) * angle + rng.uniform(0, 6.3)) for k in (1, 2, 3))
        slim = rng.random() < .35  # a log
        axes = unit * (rng.uniform(10, 22) * np.array([1, .22]) if slim else rng.uniform(4, 13) * np.array([1, .8]))
        turn = rng.uniform(-.6, .6)
        outline = (axes * (reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1))) @ np.array(
            [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + center
        mask = cv2.fillPoly(np.zeros(shape, np.uint8), [np.round(outline).astype(np.int32)], 1)
        shadow = cv2.GaussianBlur(np.roll(mask, int(unit), 0).astype(np.float32), (0, 0), unit)
        image *= (1 - .3 * shadow * (1 - mask))[..., None]
        colors = FUR if rng.random() < .15 else EARTH  # fur alone does not make an animal
        fill = coat(rng, x / (18 * unit), y / (18 * unit), 18 * unit, colors[rng.integers(len(colors))])
        light = .45 + .55 * np.sqrt(np.clip(cv2.distanceTransform(mask, cv2.DIST_L2, 3) / (5 * unit), 0, 1))
        image[mask > 0] = (fill * light[..., None])[mask > 0]
    return image, palettes.mean(1)


# -- animals ----------------------------------------------------------------------------------------------------------
def toward(angle):
    """Unit vector at ``angle`` radians, turning from forward to down."""
    return np.array([np.cos(angle), np.sin(angle)])


def sample_body(rng):
    """A quadruped: near capsules (torso, neck, near legs), far ones (far legs, tail), center and radius of the skull.

    Body frame: unit = about half a torso; x forward, y down, the middle of the torso at (0, 0).
    """
    draw = rng.uniform
    length, chest, pitch = draw(.5, .85), draw(.5, .66), draw(-.6, .16)
    hip, front = chest * draw(.78, 1.02), length * toward(pitch)
    neck, neck_width = -draw(.2, 1.25), draw(.2, .3)
    neck_start = front + .25 * chest * toward(neck)
    neck_end = neck_start + (.55 * chest + draw(.3, .75)) * toward(neck)
    near, far = [(-front, front, hip, chest), (neck_start, neck_end, neck_width + .08, neck_width)], []
    leg, width, gait, stride = draw(.4, .8), draw(.17, .23), draw(0, 2 * np.pi), draw(.1, .55)
    for index, root in enumerate((front, front, -front, -front)):
        swing = np.pi / 2 + stride * np.sin(gait + np.pi * index + .7 * (index // 2)) + draw(-.08, .08)
        top = root + np.array([.12 * (index % 2), .45 * chest])
        knee = top + .55 * leg * toward(swing)
        foot = knee + .5 * leg * toward(swing + draw(.1, .45) * (1 if index < 2 else -1))
        (far if index % 2 else near).extend([(top, knee, 1.45 * width, width), (knee, foot, width, .8 * width),
                                             (foot, foot + np.array([.13, .02]), .8 * width, .7 * width)])
    angle, bend, step, width = np.pi + draw(-.7, .9), draw(-.5, .5), draw(.1, .26), draw(.1, .18)
    joint = -front + .7 * hip * toward(angle)
    for index in range(4):  # the tail
        far.append((joint, joint + step * toward(angle), width * (1 - .12 * index), width * (.88 - .12 * index)))
        joint, angle = joint + step * toward(angle), angle + bend
    skull = draw(.38, .46)
    return near, far, neck_end + .35 * skull * toward(neck), skull


@dataclass
class Sprite:
    """An animal on its own canvas (h, w): colors, silhouette with and without the class's own parts, head zone."""
    color: np.ndarray
    mask: np.ndarray
    body: np.ndarray
    zone: np.ndarray
    offset: tuple = (0, 0)

    def spans(self, side):
        """Slices of the part that lies in the image: in the image (side, side), and in the sprite."""
        (x, y), (height, width) = self.offset, self.mask.shape
        x1, y1 = max(x, 0), max(y, 0)
        x2, y2 = max(x1, min(x + width, side)), max(y1, min(y + height, side))
        return np.s_[y1:y2, x1:x2], np.s_[y1 - y:y2 - y, x1 - x:x2 - x]


def draw_animal(rng, head_rng, name, length, avoid):
    """A Sprite whose longest side is ``length`` pixels, in fur that stands out from the colors ``avoid`` (K, 3)."""
    near_parts, far_parts, center, skull = sample_body(rng)
    tilt, angle, mirror, light = rng.uniform(-.35, .4), rng.uniform(-.5, .5), rng.choice([-1, 1]), rng.uniform(-.6, .6)
    tries = FUR[rng.integers(len(FUR), size=12)] + rng.normal(0, 9, (12, 3)).astype(np.float32)
    lab = [cv2.cvtColor(np.float32(one).reshape(1, -1, 3) / 255, cv2.COLOR_RGB2LAB)[0] for one in (tries, avoid)]
    base = tries[np.linalg.norm(lab[0][:, None] - lab[1], axis=-1).min(1).argmax()]
    ends = [(np.array(point), max(part[2:]) + .05) for part in near_parts + far_parts for point in part[:2]]
    ends.append((center, HEAD_ZONE * skull))
    low, high = np.min([p - r for p, r in ends], 0), np.max([p + r for p, r in ends], 0)
    unit = length / max(high - low)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = unit * np.array([(i, j) for i in (low[0], high[0]) for j in (low[1], high[1])]) * (mirror, 1) @ turn.T
    (left, top), (right, bottom) = np.floor(corners.min(0)), np.ceil(corners.max(0))
    points = np.stack(np.meshgrid(np.arange(left, right + 1), np.arange(top, bottom + 1)), -1) @ turn / unit
    x, y = (mirror * points[..., 0]).astype(np.float32), points[..., 1].astype(np.float32)
    dx, dy = (x - center[0]) / skull, (y - center[1]) / skull
    head_x = np.cos(tilt) * dx + np.sin(tilt) * dy
    head_y = np.cos(tilt) * dy - np.sin(tilt) * dx
    face = np.minimum(np.hypot(head_x, head_y) - 1, capsule(head_x, head_y, (.3, .2), (.85, .3), .62, .4))
    near = capsule(x, y, *near_parts[0])
    for part in near_parts[1:]:  # joined with a fillet, by the polynomial smooth minimum
        other = capsule(x, y, *part)
        share = np.clip(.5 + .5 * (other - near) / .14, 0, 1)
        near = other + (near - other) * share - .14 * share * (1 - share)
    near = np.minimum(near, face * skull)
    far = np.min([capsule(x, y, *part) for part in far_parts], 0)
    body, zone = (near < 0) | (far < 0), np.hypot(head_x, head_y) < HEAD_ZONE
    depth = np.where(near < 0, -near, -far)
    tone = .8 + .2 * np.sqrt(np.clip(depth / .22, 0, 1)) + .14 * np.clip(light * x - y, -1, 1)
    color = coat(rng, x, y, unit, base) * (tone * np.where(near < 0, 1., .82))[..., None]
    mask = body.copy()
    for *shape, paint, inside in HEADS[name]:
        distance = capsule(head_x, head_y, *shape)
        where = (distance < 0) & zone & ((face < 0) if inside else True)
        rim = .75 + .25 * np.sqrt(np.clip(-distance[where] / .25, 0, 1))
        color[where] = np.clip(np.array(paint) + head_rng.normal(0, 7, 3), 5, 250) * rim[:, None]
        mask |= where
    return Sprite(color, mask, body, zone)


def place(rng, sprite, others, side):
    """Whether an offset was found at which most of the animal and of its head is seen behind those placed before.

    Judged on the body and head zone, which know no class. The first animal always has a place.
    """
    covered = np.zeros((side, side), bool)
    for other in others:
        inside, part = other.spans(side)
        covered[inside] |= (other.body | other.zone)[part]
    size = np.array(sprite.mask.shape[::-1])
    for center in [*rng.uniform(.12, .88, (60, 2)) * side, (side / 2, side / 2)]:
        sprite.offset = tuple(np.round(center - size / 2).astype(int))
        inside, part = sprite.spans(side)
        seen, head = sprite.body[part] & ~covered[inside], sprite.body & sprite.zone
        if seen.sum() >= .6 * sprite.body.sum() and (seen & sprite.zone[part]).sum() >= .85 * head.sum():
            return True
    return not others


# -- an image ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scene:
    """An RGB image (S, S, 3) uint8 and its ground truth.

    Attributes: ``instances`` (S, S) uint8, 0 background, i + 1 the i-th animal; ``labels``, an index into CLASSES each;
    ``zones`` (n, S, S) bool, where an animal's class may show.
    """
    image: np.ndarray
    instances: np.ndarray
    labels: tuple
    zones: np.ndarray


def render_scene(seed, size=128, labels=None):
    """Draw one image; everything about it follows from ``seed``, with ``labels`` (repeated) in place of drawn classes.

    Raises:
        ValueError: ``size`` below 32.
    """
    if size < 32:
        raise ValueError(f'size is {size}; animals cannot be told apart below 32 pixels')
    layout, ground, classes, *streams = [
        np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(3 + 2 * MAX_ANIMALS)]
    side = size * SUPERSAMPLING
    image, avoid = scenery(ground, side)
    count = int(layout.choice([1, 2, 3, 4], p=(.35, .35, .2, .1)))
    drawn = classes.integers(len(CLASSES), size=MAX_ANIMALS)
    drawn[1:] = np.where(classes.random(MAX_ANIMALS - 1) < .25, drawn[0], drawn[1:])
    wanted = drawn if labels is None else np.resize(labels, MAX_ANIMALS)
    sprites, kept = [], []
    for index in range(count):
        sprite = draw_animal(streams[index], streams[MAX_ANIMALS + index], CLASSES[wanted[index]],
                             layout.uniform(*SCALES[count]) * side, avoid)
        if place(layout, sprite, sprites, side):
            sprites.append(sprite)
            kept.append(int(wanted[index]))

    def shrink(array):  # the mean over the subpixels of each pixel
        return cv2.resize(array.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)

    owner, zones = np.zeros((side, side), np.uint8), np.zeros((len(sprites), side, side), bool)
    for index, sprite in reversed(list(enumerate(sprites))):  # from back to front
        inside, part = sprite.spans(side)
        mask = sprite.mask[part]
        shadow = cv2.GaussianBlur(sprite.body.astype(np.float32), (0, 0), .012 * side)[part]
        image[inside] *= (1 - .2 * shadow)[..., None]
        image[inside][mask] = sprite.color[part][mask]
        owner[inside][mask] = index + 1
        zones[index][inside] = sprite.zone[part]
    # a final pixel belongs to the layer that has most of its subpixels
    shares = np.stack([shrink(owner == index) for index in range(len(sprites) + 1)])
    instances = shares.argmax(0).astype(np.uint8)
    light = .82 + .36 * noise(ground, (size, size), .6 * size)
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) * light[..., None]
    small = np.clip(np.round(small + ground.normal(0, 3, small.shape)), 0, 255).astype(np.uint8)
    return Scene(small, instances, tuple(kept), np.stack([shrink(zone) > 0 for zone in zones]))


# -- files ------------------------------------------------------------------------------------------------------------
def write_image(name, annotation, size, seed):
    """Write the files of one image, the annotation last: its presence says that the others are there."""
    out, (split, number) = annotation.parents[1], str(name).split('_')
    scene = render_scene((seed, int(split == 'val'), int(number)), size)
    classes = np.array([0, *(label + 1 for label in scene.labels)], np.uint8)[scene.instances]
    write_picture(out / 'JPEGImages' / f'{name}.jpg', scene.image)
    for folder, indices in (('SegmentationClass', classes), ('SegmentationObject', scene.instances)):
        write_palette_picture(out / folder / f'{name}.png', indices, PALETTE)
    text = (f'<annotation><folder>critters</folder><filename>{name}.jpg</filename><size><width>{size}</width>'
            f'<height>{size}</height><depth>3</depth></size><segmented>1</segmented>')
    for number, label in enumerate(scene.labels, 1):
        y, x = np.nonzero(scene.instances == number)
        box = ''.join(f'<{key}>{value + 1}</{key}>' for key, value in zip(
            ('xmin', 'ymin', 'xmax', 'ymax'), (x.min(), y.min(), x.max(), y.max())))
        text += f'<object><name>{CLASSES[label]}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>'
    atomic_write(annotation, f'{text}</annotation>\n'.encode())


def write_dataset(out, num_train=600, num_val=120, size=128, seed=0, workers=1):
    """Generate the data set in the folder ``out``; images that are there already are kept.

    Raises:
        ValueError: an image cannot be drawn.
        FileExistsError: ``out`` holds a data set of another recipe.
    """
    out, recipe = Path(out), dict(version=VERSION, size=size, seed=seed)
    path = out / 'critters.json'
    found = json.loads(path.read_text()) if path.exists() else None
    if found != recipe and (found or (out / 'Annotations').exists()):
        raise FileExistsError(f'{out} holds images of {found or "something else"}, asked for is {recipe}: give another '
                              'folder or delete this one')
    atomic_write(path, json.dumps(recipe).encode())
    names = {split: [f'{split}_{index:05d}' for index in range(count)]
             for split, count in (('train', num_train), ('val', num_val))}
    files = {name: out / 'Annotations' / f'{name}.xml' for name in (*names['train'], *names['val'])}
    jobs = [(Path(name), file) for name, file in files.items()]
    failed = run_jobs(partial(write_image, size=size, seed=seed), jobs, workers, title='critters')
    if failed:
        raise ValueError(f'{len(failed)} images failed, the first: {next(iter(failed.values()))}')
    labels = {name: {one.text for one in ElementTree.parse(file).iter('name')} for name, file in files.items()}
    for split, own in names.items():
        for folder in ('Main', 'Segmentation'):
            atomic_write(out / f'ImageSets/{folder}/{split}.txt', ''.join(f'{name}\n' for name in own).encode())
        for label in CLASSES:
            rows = ''.join(f'{name} {1 if label in labels[name] else -1:2d}\n' for name in own)
            atomic_write(out / f'ImageSets/Main/{label}_{split}.txt', rows.encode())


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, '--seed')
    parser.add_argument('out', type=Path, help='folder to fill; a killed run is continued')
    parser.add_argument('--num-train', type=int, default=600, help='training images (default: 600)')
    parser.add_argument('--num-val', type=int, default=120, help='validation images (default: 120)')
    parser.add_argument('--size', type=int, default=128, help='side of the images in pixels (default: 128)')
    parser.add_argument('--workers', type=int, default=min(os.cpu_count() or 1, 8), help='processes')
    args = parser.parse_args(argv)
    write_dataset(args.out, args.num_train, args.num_val, args.size, args.seed, args.workers)


if __name__ == '__main__':
    sys.exit(main())
