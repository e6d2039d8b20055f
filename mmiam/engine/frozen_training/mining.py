"""Step 3: find cues for the images' labels and their candidate masks, on the grid of the filling module."""
from __future__ import annotations

import os.path as osp
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmiam.utils.checkpoints import fingerprint
from mmiam.utils.files import file_stamp, read_arrays, write_arrays
from mmiam.utils.jobs import with_bar

from .recipe import Recipe


@dataclass
class Instances:
    """Those cues of one image that have candidate masks, on the grid of the filling module.

    Attributes:
        labels (ndarray): class labels, long (n,).
        maps (ndarray): maps to be filled, with maximum 1, half floats (n, g, g).
        masks (list[ndarray]): for each cue its k candidates, best first, uint8 (k, g, g): the covered share of each
            cell times 255.
    """
    labels: np.ndarray
    maps: np.ndarray
    masks: list[np.ndarray] = field(default_factory=list)


def mine_views(model: nn.Module, dataset, root: str, indices: Iterable[int], settings: str = ''
               ) -> tuple[str, dict[str, str]]:
    """Find cues for each image's labels and their candidate masks, one file per image; existing files are kept.

    Args:
        model (IAMNet): model from :func:`load_model`, with a trained head.
        dataset: data set from :func:`build_plain_dataset`, with segment proposals.
        root (str): where the folder is made; its name depends on weights and settings.
        indices (Iterable[int]): images that this process handles.
        settings (str): anything else that cues and candidates depend on.

    Returns:
        tuple[str, dict[str, str]]: the folder, and path and error of each image that failed.
    """
    files = [step.proposal_path(dataset.entry(i)) for step in dataset.pipeline.transforms
             if hasattr(step, 'proposal_path') for i in range(len(dataset))]
    folder = osp.join(root, 'mined-' + fingerprint(settings, repr(dataset.pipeline), model.backbone, model.peak_head,
                                                   [file_stamp(path) for path in files]))
    left, failed = [i for i in indices if not osp.isfile(_mined_file(folder, i))], {}
    for i in with_bar(left, len(left), 'pseudo masks'):
        try:
            batch = model.data_preprocessor(pseudo_collate([dataset[i]]), training=True)
        except (OSError, ValueError) as error:
            failed[dataset.image_path(i)] = str(error)
            continue
        write_arrays(_mined_file(folder, i), _mine_image(model, batch))
    return folder, failed


@torch.no_grad()
def _mine_image(model: nn.Module, batch: dict) -> dict[str, np.ndarray]:
    """Find the cues of one image that have candidates, in the form stored: arrays over cues or over all candidates."""
    sample, = batch['data_samples']
    cue, = model.training_cues(batch['inputs'], [sample])[1]
    found = [place for place, options in enumerate(cue.candidates) if len(options)]
    masks = sample.segment_proposals.masks(np.concatenate([np.zeros(0, int), *cue.candidates]))
    cells = _to_grid(torch.from_numpy(masks).float(), model.filler.pooling)
    values: Any = model.sampler.score(cue, sample.segment_proposals)[0] if found else None
    arrays = dict(labels=cue.labels[found].cpu().numpy(),
                  scores=np.concatenate([np.zeros(0, np.float32), *(
                      values[place, cue.candidates[place]].cpu().numpy() for place in found)]),
                  masks=(cells * 255).round().byte().numpy(),
                  counts=np.array([len(cue.candidates[place]) for place in found], np.int64))
    for name in ('prms', 'cams') if 'prms' in cue else ('maps', ):
        maps = _to_grid(cue.get(name)[found], model.filler.pooling)
        if name != 'cams':  # the values of maps of sum one are too small for half floats
            maps = maps / maps.amax((1, 2), keepdim=True)
        arrays[name] = maps.half().cpu().numpy()
    if 'prms' in cue:
        arrays['places'] = ((cue.places[found] + 0.5) / model.filler.pooling - 0.5).cpu().numpy()
    return arrays


def read_mined(folder: str, count: int, num_classes: int, recipe: Recipe, cue: nn.Module) -> dict[int, Instances]:
    """Read what :func:`mine_views` found, by image; images without any pseudo mask are left out.

    A ``cue`` at peaks draws its maps anew, so that different cues can be compared on the same pseudo masks.
    """
    stored = {i: read_arrays(_mined_file(folder, i)) for i in range(count) if osp.isfile(_mined_file(folder, i))}
    starts = {i: np.cumsum(arrays['counts'])[:-1] for i, arrays in stored.items()}
    best: list[list[float]] = [[] for _ in range(num_classes)]  # candidates are in descending order
    for i, arrays in stored.items():
        for label, scores in zip(arrays['labels'], np.split(arrays['scores'], starts[i])):
            best[label].append(float(scores[0]))
    least = [min(recipe.sure_score, np.quantile(values, 1 - recipe.class_share)) if values else 0. for values in best]
    mined = {}
    for i, arrays in stored.items():
        parts = zip(arrays['labels'], np.split(arrays['scores'], starts[i]), np.split(arrays['masks'], starts[i]))
        masks = [part[scores >= least[label]] for label, scores, part in parts] if len(arrays['labels']) else []
        kept = [place for place, part in enumerate(masks) if len(part)]
        if kept:
            mined[i] = Instances(arrays['labels'][kept], _draw(cue, arrays)[kept], [masks[place] for place in kept])
    return mined


def _draw(cue: nn.Module, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Draw the maps of one image on the grid, or take the stored ones: (n, g, g)."""
    if 'maps' in arrays:
        return arrays['maps']
    peaks = InstanceData(**{name: torch.from_numpy(arrays[name]).float() for name in ('places', 'prms', 'cams')})
    cue.draw(peaks, peaks.prms[None])
    return peaks.maps.half().numpy()


def _mined_file(folder: str, index: int) -> str:
    return osp.join(folder, f'{index:07d}.npz')


def _to_grid(maps: Tensor, pooling: int) -> Tensor:
    """Average maps over the cells of the grid: (n, H, W) -> (n, g, g)."""
    return F.avg_pool2d(maps[:, None], pooling, ceil_mode=True)[:, 0] if len(maps) else maps
