"""What the steps share: their lengths and rates, sampling of images, an optimizer step, and saved states."""
from __future__ import annotations

import math
import os.path as osp
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmiam.utils.checkpoints import check_finite, read_checkpoint, save_checkpoint

BATCH = 16


@dataclass
class Recipe:
    """Lengths and rates of a run. Our choice, tuned on the images that docs/experiments.md names.

    Attributes:
        head_steps, fill_steps (int): optimizer steps; :meth:`for_images` derives them from the number of images.
        head_lr, fill_lr (float): peak learning rates of AdamW.
        balance (float): an image is drawn with a probability proportional to (1 / number of images of its rarest
            class) to this power.
        select_from (float): share of ``fill_steps`` after which pseudo masks are chosen by agreement
            (:class:`ProposalPseudoGTSampler`).
        weight_decay (float): weight decay of AdamW.
        class_share (float): share of the cues of each class that get pseudo masks, the best by the sampler's score;
            a single threshold for all classes would leave rare ones without any.
        sure_score (float): candidates that reach this score are pseudo masks in any case.
        start_from_classifier (bool): whether the head starts from the ImageNet classifier, if the backbone comes with
            one (:func:`start_head`); meant for few images.
    """
    head_steps: int
    fill_steps: int
    head_lr: float = 3e-3
    fill_lr: float = 5e-3
    balance: float = 0.5
    select_from: float = 0.33
    weight_decay: float = 1e-4
    class_share: float = 0.5
    sure_score: float = 1.1
    start_from_classifier: bool = False

    @classmethod
    def for_images(cls, count: int, effort: float = 1., **settings) -> Recipe:
        """Make a recipe whose steps are proportional to ``effort`` and to the square root of the number of images."""
        root = effort * math.sqrt(count)
        return cls(max(1, round(30 * root)), max(1, round(16 * root)), **settings)


def weigh_images(labels: Sequence[Iterable[int]], power: float) -> np.ndarray:
    """Compute the probability of drawing each image, (N,), which depends on the rarest of its labels."""
    count = Counter(label for present in labels for label in present)
    weights = np.array([max((1 / count[label])**power for label in present) for present in labels])
    return weights / weights.sum()


def optimize(optimizer: torch.optim.Optimizer, loss: Tensor, where: str) -> float:
    """Take one optimizer step and return the loss; raise a FloatingPointError if it is not finite."""
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f'{where}: the loss is {value}: the training diverged, and nothing of it was saved. '
                                 'Lower head_lr or fill_lr of the Recipe, or start from other weights')
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return value


def load_state(path: str | None, key: str) -> dict:
    """Read a saved state if it belongs to this run; otherwise return an empty one."""
    state = read_checkpoint(path) if path is not None and osp.isfile(path) else {}
    return state if state.get('key') == key else {}


def save(path: str, weights: dict[str, Tensor], content: dict) -> None:
    """Write a checkpoint; raise an error if weights in it are not finite."""
    check_finite(weights, f'{path}, which is not written')
    save_checkpoint(content, path)
