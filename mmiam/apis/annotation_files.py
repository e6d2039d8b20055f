"""Writers that turn the masks of a COCO file into formats that annotation tools and other trainers read.

Legend: H, W image size; n masks of one image.
"""
from __future__ import annotations

import os.path as osp
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from xml.etree import ElementTree

import cv2
import numpy as np

from mmiam.utils.files import atomic_write, write_json
from mmiam.utils.images import write_palette_picture
from mmiam.visualization.overlays import instance_colors

from .coco_results import read_images

#: for each image: its name without suffix, its entry, and its annotations, each with its mask, bool (H, W)
Entries = Iterable[tuple[str, dict, list[tuple[dict, np.ndarray]]]]


def write_annotations(content: dict, out: str, form: str, names: Mapping[str, str] = MappingProxyType({})
                      ) -> list[str]:
    """Write the masks of a COCO file in another format, into the folder ``out``.

    Args:
        content (dict): ``images``, ``annotations`` with RLE masks and ``score``, ``categories``.
        out (str): folder to write to.
        form (str): one of :data:`FORMATS`.
        names (Mapping[str, str]): name, for each ``file_name``, of what is written about it (the suffix is replaced);
            by default that of the image file.

    Returns:
        list[str]: paths of the written files, or of the folders that contain them.
    """
    classes = {category['id']: category['name'] for category in content['categories']}
    entries = ((osp.splitext(names.get(image['file_name'], osp.basename(image['file_name'])))[0], image,
                list(zip(found, masks))) for image, found, masks in read_images(content))
    return FORMATS[form](entries, classes, out)


def polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Outline the regions of a mask, largest first: arrays (points, 2) of (x, y) in pixels.

    Holes are filled, and outlines of fewer than three points are dropped.
    """
    found = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[-2]
    outlines = [outline[:, 0] for outline in sorted(found, key=cv2.contourArea, reverse=True)]
    return [outline for outline in outlines if len(outline) >= 3]


def _png(entries: Entries, classes: dict, out: str) -> list[str]:
    """Write one palette PNG per image, in which pixels of value i belong to instance i (0: none), and a common legend.

    Only the first 255 instances are drawn. Where masks overlap, the earlier one is on top: predictions are sorted by
    score, so this is the better one.
    """
    legend = {}
    palette = [0, 0, 0, *instance_colors(255).flatten().tolist()]
    for stem, image, found in entries:
        indices = np.zeros((image['height'], image['width']), np.uint8)
        numbered = list(enumerate(found[:255], 1))
        for number, (_, mask) in reversed(numbered):
            indices[mask] = number
        write_palette_picture(osp.join(out, 'masks', f'{stem}.png'), indices, palette)
        legend[f'{stem}.png'] = {number: dict(label=classes[one['category_id']], score=one.get('score'))
                                 for number, (one, _) in numbered}
    write_json(osp.join(out, 'masks', 'legend.json'), legend)
    return [osp.join(out, 'masks')]


def _yolo(entries: Entries, classes: dict, out: str) -> list[str]:
    """Write YOLO-seg files: one line per mask with its class and the outline of its largest region, in [0, 1].

    Coordinates are relative to the sides of the image. ``data.yaml`` expects the photos in ``images``, beside
    ``labels``.
    """
    order = {category: index for index, category in enumerate(classes)}
    for stem, image, found in entries:
        lines = []
        for one, mask in found:
            for outline in polygons(mask)[:1]:
                # centers of pixels, since readers multiply by the sides and cut off the fraction
                points = ((outline + 0.5) / (image['width'], image['height'])).flatten()
                lines.append(' '.join([str(order[one['category_id']]), *(f'{value:.6f}' for value in points)]))
        atomic_write(osp.join(out, 'labels', f'{stem}.txt'), ''.join(f'{line}\n' for line in lines).encode())
    import yaml
    data = yaml.safe_dump(dict(train='images', val='images', names={
        order[category]: name for category, name in classes.items()}), sort_keys=False)
    atomic_write(osp.join(out, 'data.yaml'), data.encode())
    return [osp.join(out, 'labels'), osp.join(out, 'data.yaml')]


def _labelme(entries: Entries, classes: dict, out: str) -> list[str]:
    """Write one LabelMe file per image; the regions of one mask form a group."""
    for stem, image, found in entries:
        shapes = []
        for group, (one, mask) in enumerate(found, 1):
            outlines = polygons(mask)
            common = dict(label=classes[one['category_id']], shape_type='polygon', description='', flags={},
                          group_id=group if len(outlines) > 1 else None)
            shapes += [dict(common, points=outline.astype(float).tolist()) for outline in outlines]
        file = osp.join(out, 'labelme', f'{stem}.json')
        relative = osp.relpath(osp.abspath(image['file_name']), osp.dirname(osp.abspath(file)))
        write_json(file, dict(version='5.5.0', flags={}, shapes=shapes, imagePath=relative, imageData=None,
                              imageHeight=image['height'], imageWidth=image['width']))
    return [osp.join(out, 'labelme')]


def _cvat(entries: Entries, classes: dict, out: str) -> list[str]:
    """Write "CVAT for images 1.1": each mask as run lengths inside its box, starting with the run of zeros."""
    root = ElementTree.Element('annotations')
    ElementTree.SubElement(root, 'version').text = '1.1'
    for index, (stem, image, found) in enumerate(entries):
        node = ElementTree.SubElement(root, 'image', id=str(index), name=stem + osp.splitext(image['file_name'])[1],
                                      width=str(image['width']), height=str(image['height']))
        for one, mask in found:
            left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
            flat = mask[top:top + height, left:left + width].ravel()
            runs = np.diff([0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1), len(flat)]).tolist()
            ElementTree.SubElement(
                node, 'mask', label=classes[one['category_id']], source='auto', occluded='0', z_order='0',
                rle=', '.join(map(str, [0, *runs] if flat[0] else runs)), left=str(left), top=str(top),
                width=str(width), height=str(height))
    ElementTree.indent(root)
    atomic_write(osp.join(out, 'annotations.xml'), ElementTree.tostring(root, 'utf-8', xml_declaration=True))
    return [osp.join(out, 'annotations.xml')]


#: format -> writer of (entries, class names by id, folder)
FORMATS: dict[str, Callable[[Entries, dict, str], list[str]]] = dict(png=_png, yolo=_yolo, labelme=_labelme, cvat=_cvat)
