"""From a folder of tagged photos to masks: proposals, training on a frozen backbone, export and pictures.

Everything that takes time is kept in a work folder; the same call continues where it stopped, and can be repeated after
photos have been added.
"""
from __future__ import annotations

import os
import os.path as osp
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from pooch import file_hash

import mmiam.zoo as zoo
from mmiam.datasets.tag_files import read_tags
from mmiam.engine.frozen_training import Outcome, Recipe, train_frozen
from mmiam.engine.runs import lock_work_dir
from mmiam.proposals.generators import SelectiveMerging
from mmiam.utils.files import atomic_write
from mmiam.utils.images import read_image, write_picture
from mmiam.utils.jobs import run_jobs, with_bar

from .coco_results import read_images
from .inference import init_model
from .options import device_name
from .part_files import PartFiles
from .photos import draw_photo
from .pseudo_labels import LabeledImages, label_images, merge_parts, provenance

CONFIG = 'iam-plus_lite2_own'
#: with fewer pseudo masks, training would cost the packaged filling module as much elsewhere as it gains here
LEAST_MASKS = 20
FILL_LR = 1e-3
#: least score of a mask; the best one of a tag is kept even if it is lower
TAGGED_MIN_SCORE = 0.2
FEW, POOR = 10, 0.6  # with fewer photos, or a lower AP, the report gives advice on a class


def label_photos(photos: str, out: str, tags: str = 'folders', effort: float = 1., work_dir: str | None = None,
                 seed: int = 0, device: str | None = None) -> int:
    """Learn the classes of tagged photos, and write their masks as COCO json and as pictures.

    Args:
        photos (str): folder of photos.
        out (str): COCO file to write.
        tags (str): see :func:`mmiam.datasets.tag_files.read_tags`.
        effort (float): factor for the length of training, above 0 and at most 1000.
        work_dir (str, optional): folder for everything else; by default ``out`` without its suffix.
        seed (int): seed of the training.
        device (str, optional): device of the network.

    Returns:
        int: 0, or 1 if a photo could not be read; the others are done.

    Raises:
        FileNotFoundError, ValueError: if photos or tags are missing or malformed, there is only one class, or
            ``effort`` is out of range.
    """
    if not 0 < effort <= 1000:
        raise ValueError(f'effort is a positive factor up to 1000, got {effort}')
    work_dir = work_dir or osp.splitext(out)[0]
    tagged = read_tags(photos, tags)
    counts = Counter(tag for image in tagged.images for tag in image.tags)
    if len(counts) < 2:
        raise ValueError(f'{photos} has the class {next(iter(counts), "(none)")} alone, and a class is learned by what '
                         'other photos lack: add photos of something else, tagged as such ("other", say)')
    with lock_work_dir(work_dir):
        logger = MMLogger.get_instance('label', log_file=osp.join(work_dir, 'label.log'))
        logger.info('photos: ' + ', '.join(f'{counts[name]} {name}' for name in tagged.classes if counts[name]))
        cfg = own_config(photos, tags, tagged.classes, osp.join(work_dir, 'proposals'))
        jobs = [(Path(osp.abspath(photos), image.name), Path(work_dir, 'proposals', image.name).with_suffix('.npz'))
                for image in tagged.images if image.tags]
        failed = {str(path): error for path, error in
                  run_jobs(SelectiveMerging().write, jobs, os.cpu_count() or 1, title='proposals').items()}
        recipe = Recipe.for_images(len(jobs), effort, fill_lr=FILL_LR, start_from_classifier=True)
        recipe.head_steps *= 3  # a few seconds more; with fewer, the head stops halfway to what the photos teach
        outcome = train_frozen(cfg, work_dir, recipe, seed, zoo.weights_file('voc20'), device_name(device),
                               least_masks=LEAST_MASKS, judge=True)
        assert outcome.checkpoint is not None  # since the run has no shards
        config = osp.join(work_dir, 'config.py')
        atomic_write(config, cfg.pretty_text.encode())
        content = export(cfg, config, outcome.checkpoint, out, work_dir, device_name(device))
        failed = {**outcome.failed, **failed}
        for path, error in failed.items():
            print(f'{path}: {error}', file=sys.stderr)
        report(tagged.classes, counts, outcome, content, logger)
        print(f'masks:      {out}\npictures:   {work_dir}/pictures\n'
              f'checkpoint: {outcome.checkpoint}, config: {config}\n'
              f'next:       mmiam predict OTHER_PHOTOS --model {work_dir}')
        return 1 if failed else 0


def own_config(photos: str, tags: str, classes: tuple[str, ...], proposals: str) -> Config:
    """Make the config for a user's own photos, with all paths in it, so that it needs no environment variable later."""
    cfg = Config.fromfile(zoo.config_file(CONFIG))
    source = dict(img_root=osp.abspath(photos), ann_file=tags if tags == 'folders' else osp.abspath(tags),
                  metainfo=dict(classes=classes))
    cfg.merge_from_dict(dict(
        model=dict(peak_head=dict(num_classes=len(classes))),
        **{f'{part}_dataloader': dict(dataset=source) for part in ('train', 'val', 'test')}))
    for step in cfg.train_dataloader.dataset.pipeline:
        if step['type'] == 'LoadSegmentProposals':
            step['proposal_root'] = osp.abspath(proposals)
    return cfg


def export(cfg: Config, config: str, checkpoint: str, out: str, work_dir: str, device: str) -> dict:
    """Predict masks for the tags of the photos, write the COCO file and the pictures, and return the file's content."""
    images = LabeledImages(cfg)
    parts = PartFiles(osp.join(work_dir, f'masks-{file_hash(checkpoint)[:12]}'),
                      provenance(config, cfg, checkpoint, min_score=TAGGED_MIN_SCORE), images.keys())
    label_images(lambda: init_model(cfg, checkpoint, device), images, parts, range(len(images)), TAGGED_MIN_SCORE,
                 keep_best=True)
    content = merge_parts(parts, images, out)
    label = {category: index for index, category in enumerate(images.category_ids)}
    paths = dict(zip(images.names, images.paths))
    for image, found, masks in with_bar(read_images(content), len(content['images']), 'pictures'):
        instances = InstanceData(
            masks=masks, labels=torch.tensor([label[one['category_id']] for one in found], dtype=torch.long),
            scores=torch.tensor([one['score'] for one in found]))
        write_picture(osp.join(work_dir, 'pictures', image['file_name']),
                      draw_photo(read_image(paths[image['file_name']]), instances, images.classes))
    return content


def report(classes: tuple[str, ...], counts: Counter, outcome: Outcome, content: dict, logger: MMLogger) -> None:
    """Log a table by class, and advice on classes that did not go well."""
    from terminaltables import AsciiTable
    assert outcome.ap is not None and outcome.pseudo_masks is not None  # since the run has no shards
    ids = {category['name']: category['id'] for category in content['categories']}
    masks = Counter(one['category_id'] for one in content['annotations'])
    rows, advice = [['class', 'photos', 'AP, held back', 'pseudo masks', 'masks']], []
    for name, ap, found in zip(classes, outcome.ap.ap, outcome.pseudo_masks):
        rows.append([name, str(counts[name]), '-' if np.isnan(ap) else f'{100 * ap:.0f}%', str(found),
                     str(masks[ids[name]])])
        if counts[name] and ap < POOR:
            advice.append(f'{name} is hardly told from the other classes: ' + (
                'more photos of it help' if counts[name] < 3 * FEW else 'check its tags, or take photos in which it '
                'is larger'))
        elif 0 < counts[name] < FEW:
            advice.append(f'{name} has {counts[name]} photos; {FEW} or more make its masks steadier')
        if counts[name] and not found:
            advice.append(f'{name} has no pseudo mask: nothing of it was learned beyond the packaged model; add photos '
                          'in which it is larger and whole')
    logger.info('\n' + AsciiTable(rows).table + '\nAP, held back: how well a class is told from the others on photos '
                'that were not used to learn it')
    for line in advice:
        logger.warning(line)
    if not outcome.filler_trained:
        logger.info(f'{outcome.pseudo_masks.sum()} pseudo masks are too few ({LEAST_MASKS} are needed) to train the '
                    'filling module; the packaged one was used as it is')
