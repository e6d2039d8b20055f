"""Write VOC's instance masks as COCO json with RLE, for mmdet's CocoDataset and CocoMetric.

    python tools/dataset_converters/voc2coco_instances.py data/VOCdevkit/VOC2012 \\
        data/VOCdevkit/VOC2012/voc2012_val_instances.json --split val

Void pixels (255) become no annotation: neither an object nor a crowd, since a COCO crowd region belongs to
one category and excuses whole detections, while VOC's void belongs to none and concerns pixels. They are
kept as the RLE ``void_mask`` in the image's entry, which COCO's tools leave alone.
"""
from __future__ import annotations

import os
import sys

from rich.progress import track

import mmiam  # noqa: F401
from mmiam.apis.options import make_parser, tool
from mmiam.datasets.image_labels import read_image_list
from mmiam.datasets.mask_files import load_voc_instances
from mmiam.datasets.voc_palette import VOC_CLASSES
from mmiam.utils.files import write_json
from mmiam.utils.images import image_size
from mmiam.utils.rle import rle_areas


def convert_image(data_root: str, image_id: str, labels: dict[int, int],
                  suffix: str = '.jpg') -> tuple[dict, list[dict]]:
    """Entry of one image and its annotations, without ids.

    Args:
        data_root (str): Folder with ``JPEGImages``, ``SegmentationClass``, ``SegmentationObject``.
        image_id (str): VOC's id.
        labels (dict[int, int]): Class index in the PNG -> label.
        suffix (str): Suffix of image files.

    Returns:
        tuple[dict, list[dict]]: The image (``file_name`` relative to ``JPEGImages``, ``height``, ``width``,
        ``voc_id``, ``void_mask``) and its annotations (``bbox`` xywh and ``area`` in pixels).

    Raises:
        FileNotFoundError, ValueError: naming the file at fault.
    """
    image_path = os.path.join(data_root, 'JPEGImages', image_id + suffix)
    paths = [os.path.join(data_root, folder, f'{image_id}.png')
             for folder in ('SegmentationClass', 'SegmentationObject')]
    height, width = image_size(image_path)
    instances, void_mask = load_voc_instances(*paths, labels, (height, width), max(labels))
    areas = rle_areas([instance['mask'] for instance in instances])
    annotations = []
    for instance, area in zip(instances, areas):
        x1, y1, x2, y2 = instance['bbox']
        annotations.append(dict(category_id=instance['bbox_label'] + 1, bbox=[x1, y1, x2 - x1, y2 - y1],
                                area=float(area), iscrowd=0, segmentation=instance['mask']))
    return dict(file_name=image_id + suffix, height=height, width=width, voc_id=image_id,
                void_mask=void_mask), annotations


def convert(data_root: str, split: str, classes: tuple[str, ...] = VOC_CLASSES, suffix: str = '.jpg',
            string_ids: bool = False) -> dict:
    """A split as the content of a COCO json file.

    Args:
        data_root (str): VOC2012's folder, or another data set's in the same layout.
        split (str): ``ImageSets/Segmentation/<split>.txt`` lists the images.
        classes (tuple[str, ...]): Names in the order of the indices 1, 2, … of ``SegmentationClass``.
        suffix (str): Suffix of image files.
        string_ids (bool): Images keep VOC's ids (``'2007_000033'``), those that VOCInstanceDataset gives its
            samples. By default they are numbered from 1, as COCO's format wants.

    Returns:
        dict: ``images``, ``annotations``, ``categories`` (ids from 1 in the order of ``classes``), ``info``.
    """
    image_ids = read_image_list(os.path.join(data_root, 'ImageSets', 'Segmentation', f'{split}.txt'))
    labels = {index: index - 1 for index in range(1, len(classes) + 1)}
    images, annotations = [], []
    for number, image_id in enumerate(track(image_ids, description=f'converting {split}'), 1):
        image, found = convert_image(data_root, image_id, labels, suffix)
        image['id'] = image_id if string_ids else number
        images.append(image)
        for annotation in found:
            annotations.append(dict(id=len(annotations) + 1, image_id=image['id'], **annotation))
    info = dict(description=f'VOC instance masks, split {split}; void_mask holds the pixels marked 255')
    return dict(info=info, images=images, annotations=annotations,
                categories=[dict(id=index, name=name) for index, name in enumerate(classes, 1)])


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument('data_root', help="folder in VOC's layout (JPEGImages, SegmentationClass, …)")
    parser.add_argument('out', help='json file to write')
    parser.add_argument('--split', default='val', help='list in ImageSets/Segmentation, without .txt')
    parser.add_argument('--classes', nargs='+', default=VOC_CLASSES,
                        help="class names in the order of the mask's indices, if they are not VOC's")
    parser.add_argument('--img-suffix', default='.jpg')
    parser.add_argument('--string-ids', action='store_true',
                        help="keep VOC's ids instead of numbers, to evaluate VOCInstanceDataset's samples")
    args = parser.parse_args(argv)
    content = convert(args.data_root, args.split, tuple(args.classes), args.img_suffix, args.string_ids)
    write_json(args.out, content)
    print(f"{args.out}: {len(content['images'])} images, {len(content['annotations'])} instances")


if __name__ == '__main__':
    sys.exit(main())
