"""Step 2: train the classifier's head on stored features."""
from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmiam.models.heads.peak_stimulation_head import one_hot

from .features import FeatureStore
from .recipe import BATCH, Recipe, optimize, weigh_images


def read_packaged_classifier(model: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Read weights (K, D) and biases (K,) of the ImageNet classifier that comes with the backbone, or return None."""
    if not getattr(model.backbone, 'own_weights', False):
        return None
    packaged = CheckpointLoader.load_checkpoint(model.backbone.init_cfg['checkpoint'], map_location='cpu')
    return packaged['fc.weight'], packaged['fc.bias']


def start_head(head: nn.Module, store: FeatureStore, labels: Sequence[Sequence[int]], images: Sequence[int],
               classifier: tuple[Tensor, Tensor]) -> None:
    """Set a head's weights to the ImageNet classes that are more probable in images with a label than in the others.

    A dozen images cannot tell the object of a class from its background, but the evidence of ImageNet classes lies on
    objects, whatever they are. Our choice (see docs/own_data.md for what it gains).

    Args:
        head (PeakStimulationHead): head with C classes.
        store (FeatureStore): features, whose last level the classifier reads.
        labels (Sequence[Sequence[int]]): image-level labels of all N images.
        images (Sequence[int]): images to look at.
        classifier (tuple[Tensor, Tensor]): weights (K, D) and biases (K,) of the ImageNet classifier.
    """
    weight, bias = classifier
    pooled = torch.cat([store.read([i], [0], max(store.levels)).mean((2, 3)) for i in images])
    likely = (pooled @ weight.T + bias).softmax(1)
    targets = one_hot([labels[i] for i in images], head.num_classes)
    mean = [part.T @ likely / part.sum(0).clamp(min=1)[:, None] for part in (targets, 1 - targets)]
    more = F.normalize(mean[0] - mean[1], p=1, dim=1)
    with torch.no_grad():
        head.classifier.weight.copy_((more @ (weight - weight.mean(0)))[:, :, None, None])
        head.classifier.bias.zero_()


def train_head(head: nn.Module, store: FeatureStore, labels: Sequence[Sequence[int]], recipe: Recipe, seed: int = 0,
               images: Sequence[int] | None = None, classifier: tuple[Tensor, Tensor] | None = None) -> float:
    """Train a :class:`PeakStimulationHead` by its own loss on the stored last features.

    Args:
        head (PeakStimulationHead): trained in place.
        store (FeatureStore): features of N images.
        labels (Sequence[Sequence[int]]): image-level labels of all N images.
        recipe (Recipe): provides ``head_steps``, learning rate and so on.
        seed (int): seed for drawing images and views.
        images (Sequence[int], optional): images to train on; by default all that could be read.
        classifier (tuple[Tensor, Tensor], optional): classifier to start from, see :func:`start_head`.

    Returns:
        float: mean loss of the last tenth of the steps.
    """
    images = np.flatnonzero(store.done) if images is None else np.asarray(images)
    device, level, losses = next(head.parameters()).device, max(store.levels), []
    if classifier is not None:
        start_head(head, store, labels, images, classifier)
    targets = one_hot(labels, head.num_classes).to(device)
    odds = weigh_images([labels[i] for i in images], recipe.balance)
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.head_lr, weight_decay=recipe.weight_decay)
    head.train().requires_grad_(True)
    for step in range(recipe.head_steps):
        optimizer.param_groups[0]['lr'] = recipe.head_lr * (1 - 0.95 * step / recipe.head_steps)
        rng = np.random.default_rng((seed, step))
        chosen = rng.choice(images, min(BATCH, len(images)), p=odds, replace=False)
        feats = store.read(chosen, rng.integers(0, 2, len(chosen)), level, device)
        losses.append(optimize(optimizer, head.loss((feats, ), targets[chosen])['loss_cls'], f'head, step {step + 1}'))
    head.eval().requires_grad_(False)
    return float(np.mean(losses[-max(1, len(losses) // 10):]))


def cross_validate(head: nn.Module, store: FeatureStore, labels: Sequence[Sequence[int]], recipe: Recipe,
                   seed: int = 0, classifier: tuple[Tensor, Tensor] | None = None
                   ) -> tuple[np.ndarray, np.ndarray]:
    """Compute class scores of images by heads that were not trained on them (3 folds).

    Returns:
        tuple[ndarray, ndarray]: indices (m,) of the images that could be read, and their scores (m, C) as raw logits.
    """
    images, folds = np.flatnonzero(store.done), 3
    order = np.argsort([str(sorted(labels[i])) for i in images], kind='stable')  # spreads each class over the folds
    fold = np.empty(len(images), int)
    fold[order] = np.arange(len(images)) % folds
    scores = np.zeros((len(images), head.num_classes))
    for part in range(min(folds, len(images))):
        judge = copy.deepcopy(head)
        if (fold != part).any():
            train_head(judge, store, labels, recipe, seed, images[fold != part], classifier)
        scores[fold == part] = class_scores(judge, store, images[fold == part])
    return images, scores


@torch.no_grad()
def class_scores(head: nn.Module, store: FeatureStore, images: Sequence[int]) -> np.ndarray:
    """Compute class scores of the unmirrored views of stored images, raw logits (m, C)."""
    device, level = next(head.parameters()).device, max(store.levels)
    parts = [images[i:i + BATCH] for i in range(0, len(images), BATCH)]
    scores = [head.find_cues(head((store.read(part, [0] * len(part), level, device), )))[0] for part in parts]
    return torch.cat(scores).cpu().numpy()
