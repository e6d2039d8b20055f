"""Training on a frozen backbone: its outputs are stored once, so head and filling module take minutes on a CPU.

Not in the paper, which fine-tunes the backbone; our choice for the published models and for few photos. Losses, cues
and candidate masks are those of :class:`IAMNet`. What differs: the only augmentation is the mirror image, and cues and
candidate masks are kept at the size of the filling module's grid (input over ``filler.pooling``), where a mask is the
share of each cell that it covers.

Each step is a function, and what it has made is found again: a killed run goes on where it was.

Legend: N images with 2 views each (0 as it is, 1 mirrored), C classes, g x g grid, n instances of one image.
"""
from __future__ import annotations

import copy
import math
import os
import os.path as osp
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmiam.evaluation.functional.classification_ap import ClassificationAP, classification_average_precision
from mmiam.models.cues import simulate_prompts
from mmiam.models.heads.peak_stimulation_head import one_hot
from mmiam.models.samplers.proposal_pseudo_gt_sampler import most_agreeing
from mmiam.utils.checkpoints import (
    check_finite,
    check_fit,
    fingerprint,
    read_checkpoint,
    save_checkpoint,
    state_dict_of,
)
from mmiam.utils.files import file_stamp, read_arrays, write_arrays
from mmiam.utils.jobs import take_shard, with_bar
from mmiam.version import __version__

from .cue_mining import inner_datasets
from .safe_loading import safe_loader

BATCH = 16
_SAVE_EVERY = 100  # steps of the filling module between two saved states


@dataclass
class Recipe:
    """Lengths and rates of a run. Our choice, found on the images that docs/experiments.md names.

    Attributes:
        head_steps, fill_steps (int): optimizer steps; :meth:`for_images` derives them from the number of images.
        head_lr, fill_lr (float): highest learning rates of AdamW.
        balance (float): an image is drawn in proportion to (1 / images of its rarest class) to this power.
        class_share (float): of each class the better part of the cues has pseudo masks, by the sampler's score, and
            those that reach ``sure_score`` besides: one threshold for all classes leaves rare ones without any.
        start_from_classifier (bool): whether the head starts from the ImageNet classifier, where the backbone comes
            with one (:func:`start_head`); for few images.
        agree_from (float): share of ``fill_steps`` after which pseudo masks are chosen by agreement
            (:class:`ProposalPseudoGTSampler`).
    """
    head_steps: int
    fill_steps: int
    head_lr: float = 3e-3
    fill_lr: float = 5e-3
    balance: float = 0.5
    agree_from: float = 0.33
    weight_decay: float = 1e-4
    class_share: float = 0.5
    sure_score: float = 1.1
    start_from_classifier: bool = False

    @classmethod
    def for_images(cls, count: int, effort: float = 1., **settings) -> Recipe:
        """Steps in proportion to ``effort`` and to the square root of the number of images."""
        root = effort * math.sqrt(count)
        return cls(max(1, round(30 * root)), max(1, round(16 * root)), **settings)


def plain_dataset(cfg: Config, proposals: bool = True):
    """The training data set without its random mirror images, with or without segment proposals.

    Raises:
        ValueError: if it is made of several (ConcatDataset). Of one in another (RepeatDataset, ClassBalancedDataset)
            each image counts once.
    """
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    left_out = ('RandomFlip', ) if proposals else ('RandomFlip', 'LoadSegmentProposals', 'AlignSegmentProposals')
    dataset, *further = inner_datasets(cfg.train_dataloader.dataset)
    if further:
        raise ValueError(f'train_dataloader.dataset is made of {1 + len(further)} data sets, and features are stored '
                         'of one: name all images in one list')
    steps = [step for step in dataset['pipeline'] if step['type'] not in left_out]
    return DATASETS.build(dict(dataset, pipeline=steps))


def load_model(cfg: Config, weights: str | None = None) -> nn.Module:
    """The config's model, its backbone by ``init_cfg``, its filling module from a checkpoint if one is given."""
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    model = MODELS.build(cfg.model)
    model._dump_init_info = lambda: None  # mmengine would log every parameter
    with safe_loader():
        model.init_weights()
    if weights is not None:
        state = state_dict_of(read_checkpoint(weights), weights)
        check_fit(model, state, weights, ['filler'])
        model.filler.load_state_dict({name[7:]: value for name, value in state.items() if name.startswith('filler.')})
    model.set_stage('fill')
    return model.train()


# -------------------------------------------------------------------------------------------------------- features
class FeatureStore:
    """Outputs of the frozen backbone for both views of N images, half floats, one memory-mapped file a level.

    Args:
        folder (str): made by :func:`store_features`.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.levels = {int(name[:-4]): np.load(osp.join(folder, name), mmap_mode='r+')
                       for name in os.listdir(folder) if name[:-4].isdigit()}
        self.done = np.load(osp.join(folder, 'done.npy'), mmap_mode='r+')

    def read(self, images: Sequence[int], views: Sequence[int], level: int, device='cpu') -> Tensor:
        """(len(images), channels, h, w), float."""
        stored = self.levels[level]
        return torch.from_numpy(np.stack([stored[i, v] for i, v in zip(images, views)])).to(device).float()


def store_features(model: nn.Module, dataset, root: str, indices: Iterable[int] | None = None
                   ) -> tuple[FeatureStore, dict[str, str]]:
    """Run the backbone once over both views of each image; what is stored already is kept.

    Args:
        model (IAMNet): of :func:`load_model`.
        dataset: of :func:`plain_dataset`.
        root (str): folder for stores; that of these images, settings and weights has a name of its own, so runs may
            share it.
        indices (Iterable[int], optional): the images of this process.

    Returns:
        tuple[FeatureStore, dict[str, str]]: the store, and path and error of each image that cannot be read.

    Raises:
        ValueError: if the pipeline gives images of different sizes.
    """
    levels = sorted({*model.filler.in_indices, len(model.backbone.out_indices) - 1})
    paths = [dataset.image_path(i) for i in range(len(dataset))]
    stamps = [file_stamp(path) for path in paths]
    folder = osp.join(root, 'features-' + fingerprint(paths, stamps, repr(dataset.pipeline), model.backbone, levels))
    failed, store = {}, FeatureStore(folder) if osp.isdir(folder) else None
    wanted = list(range(len(dataset)) if indices is None else indices)
    left = [i for i in wanted if store is None or not store.done[i]]
    for i in with_bar(left, len(left), 'features'):
        try:
            batch = model.data_preprocessor(pseudo_collate([dataset[i]]))
        except (OSError, ValueError) as error:
            failed[paths[i]] = str(error)
            continue
        image = batch['inputs']
        feats = _features(model, torch.cat([image, image.flip(-1)]), levels)
        if store is None:
            _make_store(folder, {level: (len(dataset), 2, *feat.shape[1:]) for level, feat in feats.items()})
            store = FeatureStore(folder)
        for level, feat in feats.items():
            if store.levels[level].shape[2:] != feat.shape[1:]:
                raise ValueError(f'{paths[i]}: features of shape {tuple(feat.shape[1:])}, those of other images '
                                 f'{store.levels[level].shape[2:]}; give Resize one size and keep_ratio=False')
            store.levels[level][i] = feat.half().cpu().numpy()
        store.done[i] = True
    if store is None:
        raise ValueError(f'none of the {len(wanted)} images can be read; the first: {next(iter(failed.values()), "")}')
    return store, failed


@torch.no_grad()
def _features(model: nn.Module, images: Tensor, levels: Sequence[int]) -> dict[int, Tensor]:
    """Some outputs; those finer than the encoded map averaged to its size, as the filling module does first."""
    feats = model.extract_feat(images)
    side = [-(-size // model.filler.stride) for size in images.shape[-2:]]
    small = {level: all(a > b for a, b in zip(feats[level].shape[-2:], side)) for level in levels[:-1]}
    return {level: F.adaptive_avg_pool2d(feats[level], side) if small.get(level) else feats[level] for level in levels}


def _make_store(folder: str, shapes: dict[int, tuple[int, ...]]) -> None:
    """Sparse files, all there at once; another process may be quicker."""
    os.makedirs(osp.dirname(folder), exist_ok=True)
    temporary = tempfile.mkdtemp(dir=osp.dirname(folder))
    for level, shape in shapes.items():
        np.lib.format.open_memmap(osp.join(temporary, f'{level}.npy'), 'w+', np.float16, shape)
    np.save(osp.join(temporary, 'done.npy'), np.zeros(next(iter(shapes.values()))[0], bool))
    try:
        os.rename(temporary, folder)
    except OSError:
        shutil.rmtree(temporary)
        if not osp.isdir(folder):
            raise


# ------------------------------------------------------------------------------------------------------------ head
def packaged_classifier(model: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Weights (K, D) and biases (K,) of the ImageNet classifier that comes with the backbone, if one does."""
    if not getattr(model.backbone, 'own_weights', False):
        return None
    packaged = CheckpointLoader.load_checkpoint(model.backbone.init_cfg['checkpoint'], map_location='cpu')
    return packaged['fc.weight'], packaged['fc.bias']


def start_head(head: nn.Module, store: FeatureStore, labels: Sequence[Sequence[int]], images: Sequence[int],
               classifier: tuple[Tensor, Tensor]) -> None:
    """Set a head's weights to the ImageNet classes that are likelier in images of a label than in the others.

    Told by a dozen images, a class is its background as well as its object; the evidence of the ImageNet classes lies
    on objects, whatever they are. Our choice (docs/own_data.md has what it gives).

    Args:
        head (PeakStimulationHead): of C classes.
        store (FeatureStore): whose last level the classifier reads.
        labels (Sequence[Sequence[int]]): image-level labels of all N.
        images (Sequence[int]): those to look at.
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
        store (FeatureStore): of N images.
        labels (Sequence[Sequence[int]]): image-level labels of all N.
        recipe (Recipe): ``head_steps`` and so on.
        seed (int): of the order of the images.
        images (Sequence[int], optional): which to train on; all that could be read by default.
        classifier (tuple[Tensor, Tensor], optional): to start from, see :func:`start_head`.

    Returns:
        float: mean loss of the last tenth of the steps.
    """
    images = np.flatnonzero(store.done) if images is None else np.asarray(images)
    device, level, losses = next(head.parameters()).device, max(store.levels), []
    if classifier is not None:
        start_head(head, store, labels, images, classifier)
    targets = one_hot(labels, head.num_classes).to(device)
    odds = _odds([labels[i] for i in images], recipe.balance)
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.head_lr, weight_decay=recipe.weight_decay)
    head.train().requires_grad_(True)
    for step in range(recipe.head_steps):
        optimizer.param_groups[0]['lr'] = recipe.head_lr * (1 - 0.95 * step / recipe.head_steps)
        rng = np.random.default_rng((seed, step))
        chosen = rng.choice(images, min(BATCH, len(images)), p=odds, replace=False)
        feats = store.read(chosen, rng.integers(0, 2, len(chosen)), level, device)
        losses.append(_step(optimizer, head.loss((feats, ), targets[chosen])['loss_cls'], f'head, step {step + 1}'))
    head.eval().requires_grad_(False)
    return float(np.mean(losses[-max(1, len(losses) // 10):]))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, where: str) -> float:
    """One step of an optimizer, and the loss; a FloatingPointError if it is none."""
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f'{where}: the loss is {value}: the training diverged, and nothing of it was saved. '
                                 'Lower head_lr or fill_lr of the Recipe, or start from other weights')
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return value


def cross_validate(head: nn.Module, store: FeatureStore, labels: Sequence[Sequence[int]], recipe: Recipe,
                   seed: int = 0, folds: int = 3, classifier: tuple[Tensor, Tensor] | None = None
                   ) -> tuple[np.ndarray, np.ndarray]:
    """Class scores of images by heads that were not trained on them.

    Returns:
        tuple[ndarray, ndarray]: indices (m,) of the images that could be read, and their scores (m, C), raw logits.
    """
    images = np.flatnonzero(store.done)
    order = np.argsort([str(sorted(labels[i])) for i in images], kind='stable')  # each fold gets some of each class
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
    """Class scores of stored images, raw logits, (m, C)."""
    device, level = next(head.parameters()).device, max(store.levels)
    parts = [images[i:i + BATCH] for i in range(0, len(images), BATCH)]
    scores = [head.find_cues(head((store.read(part, [0] * len(part), level, device), )))[0] for part in parts]
    return torch.cat(scores).cpu().numpy()


def _odds(labels: Sequence[Iterable[int]], power: float) -> np.ndarray:
    """How likely each image is drawn, (N,), by the rarest of its labels."""
    count = Counter(label for present in labels for label in present)
    weights = np.array([max((1 / count[label])**power for label in present) for present in labels])
    return weights / weights.sum()


# ---------------------------------------------------------------------------------------------------------- mining
@dataclass
class Instances:
    """Cues of one image that have candidate masks, on the grid of the filling module.

    Attributes:
        labels (ndarray): long, (n,).
        maps (ndarray): what is filled, maximum 1, half floats (n, g, g).
        masks (list[ndarray]): for each its candidates, best first, uint8 (k, g, g): covered share of each cell times
            255.
    """
    labels: np.ndarray
    maps: np.ndarray
    masks: list[np.ndarray] = field(default_factory=list)


def mine_views(model: nn.Module, dataset, root: str, indices: Iterable[int], settings: str = ''
               ) -> tuple[str, dict[str, str]]:
    """Find cues of each image's labels and their candidate masks; one file an image, what is there is kept.

    Args:
        model (IAMNet): of :func:`load_model`, with a trained head.
        dataset: of :func:`plain_dataset`, with segment proposals.
        root (str): as of :func:`store_features`; the folder is named after weights and settings.
        indices (Iterable[int]): the images of this process.
        settings (str): whatever else cues and candidates depend on.

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
        sample, = batch['data_samples']
        cue, = model.training_cues(batch['inputs'], [sample])[1]
        with torch.no_grad():
            found = [place for place, options in enumerate(cue.candidates) if len(options)]
            masks = sample.segment_proposals.masks(np.concatenate([np.zeros(0, int), *cue.candidates]))
            cells = _to_grid(torch.from_numpy(masks).float(), model.filler.pooling)
            values = model.sampler.score(cue, sample.segment_proposals)[0] if found else None
            arrays = dict(labels=cue.labels[found].cpu().numpy(),
                          scores=np.concatenate([np.zeros(0, np.float32)] + [
                              values[place, cue.candidates[place]].cpu().numpy() for place in found]),  # type: ignore[index]
                          masks=(cells * 255).round().byte().numpy(),
                          counts=np.array([len(cue.candidates[place]) for place in found], np.int64))
            for name in ('prms', 'cams') if 'prms' in cue else ('maps', ):
                maps = _to_grid(cue.get(name)[found], model.filler.pooling)
                if name != 'cams':  # those of sum one would be too small for half floats
                    maps = maps / maps.amax((1, 2), keepdim=True)
                arrays[name] = maps.half().cpu().numpy()
            if 'prms' in cue:
                arrays['places'] = ((cue.places[found] + 0.5) / model.filler.pooling - 0.5).cpu().numpy()
        write_arrays(_mined_file(folder, i), arrays)
    return folder, failed


def read_mined(folder: str, count: int, num_classes: int, recipe: Recipe, cue: nn.Module) -> dict[int, Instances]:
    """What :func:`mine_views` found, by image; images without any pseudo mask are left out.

    A ``cue`` at peaks draws its maps anew, so that cues may be compared on the same pseudo masks.
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
    """Maps on the grid, (n, g, g)."""
    if 'maps' in arrays:
        return arrays['maps']
    peaks = InstanceData(**{name: torch.from_numpy(arrays[name]).float() for name in ('places', 'prms', 'cams')})
    cue.draw(peaks, peaks.prms[None])
    return peaks.maps.half().numpy()


def _mined_file(folder: str, index: int) -> str:
    return osp.join(folder, f'{index:07d}.npz')


def _to_grid(maps: Tensor, pooling: int) -> Tensor:
    """(n, H, W) -> (n, g, g)."""
    return F.avg_pool2d(maps[:, None], pooling, ceil_mode=True)[:, 0] if len(maps) else maps


# ---------------------------------------------------------------------------------------------------------- filler
def train_filler(model: nn.Module, store: FeatureStore, mined: dict[int, Instances], recipe: Recipe, seed: int = 0,
                 state_file: str | None = None, key: str = '') -> float:
    """Train the filling module by its own loss on mined pseudo masks.

    ``max_instances`` and ``prompt_ratio`` are those of the model's ``train_cfg``, the share of instances that teach is
    the sampler's ``trusted_fraction``.

    Args:
        model (IAMNet): its ``filler`` is trained in place.
        store (FeatureStore): of the same images as ``mined``.
        mined (dict[int, Instances]): of :func:`read_mined`, not empty.
        recipe (Recipe): ``fill_steps`` and so on.
        seed (int): of all random choices; each step has its own, so a resumed run equals one without interruption.
        state_file (str, optional): where the state is kept every 100 steps; found there with the same ``key``, it is
            gone on from.
        key (str): what the run is of.

    Returns:
        float: mean loss of the last tenth of the steps of this call; NaN if none was left.
    """
    filler = model.filler
    optimizer = torch.optim.AdamW(filler.parameters(), lr=recipe.fill_lr, weight_decay=recipe.weight_decay)
    state = _load_state(state_file, key)
    if state:
        filler.load_state_dict(state['filler'])
        optimizer.load_state_dict(state['optimizer'])
    images, losses, warm = list(mined), [], max(1, min(100, recipe.fill_steps // 10))
    odds = _odds([mined[i].labels.tolist() for i in images], recipe.balance)
    pooling, filler.pooling = filler.pooling, 1  # the maps are on the grid already
    filler.train()
    try:
        for step in range(state.get('step', 0), recipe.fill_steps):
            rate = recipe.fill_lr * min(1, (step + 1) / warm) * (1 - step / recipe.fill_steps)**0.9
            optimizer.param_groups[0]['lr'] = rate
            loss = _filling_loss(model, store, mined, images, odds, (seed, step),
                                 step >= recipe.agree_from * recipe.fill_steps)
            losses.append(_step(optimizer, loss, f'filling module, step {step + 1}'))
            if (step + 1) % _SAVE_EVERY == 0 or step + 1 == recipe.fill_steps:
                print_log(f'filling module: step {step + 1} of {recipe.fill_steps}, '
                          f'loss {np.mean(losses[-_SAVE_EVERY:]):.3f}', logger='current')
                if state_file is not None:
                    _save(state_file, filler.state_dict(), dict(
                        key=key, step=step + 1, filler=filler.state_dict(), optimizer=optimizer.state_dict()))
    finally:
        filler.pooling = pooling
        filler.eval()
    return float(np.mean(losses[-max(1, recipe.fill_steps // 10):])) if losses else math.nan


def _filling_loss(model: nn.Module, store: FeatureStore, mined: dict[int, Instances], images: list[int],
                  odds: np.ndarray, seed: tuple[int, int], agreeing: bool) -> Tensor:
    """Loss of one random batch."""
    rng, device = np.random.default_rng(seed), next(model.filler.parameters()).device
    chosen = [images[i] for i in rng.choice(len(images), min(BATCH, len(images)), p=odds, replace=False)]
    views = rng.integers(0, 2, len(chosen))
    pairs = [(row, place) for row, i in enumerate(chosen) for place in range(len(mined[i].labels))]
    if len(pairs) > model.train_cfg['max_instances']:
        kept = rng.choice(len(pairs), model.train_cfg['max_instances'], replace=False)
        pairs = [pairs[i] for i in sorted(kept)]
    maps = torch.from_numpy(np.stack([mined[chosen[row]].maps[place] for row, place in pairs])).float()
    masks = [torch.from_numpy(mined[chosen[row]].masks[place]).float() / 255 for row, place in pairs]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        for i in np.flatnonzero(rng.random(len(pairs)) < model.train_cfg['prompt_ratio']):
            masks[i] = masks[i][:1]  # a prompt stands for one mask: the others would contradict it
            if (masks[i] > 0.5).any():
                maps[i] = simulate_prompts(masks[i] > 0.5)[0]
    for i, (row, _) in enumerate(pairs):
        if views[row]:
            maps[i], masks[i] = maps[i].flip(-1), masks[i].flip(-1)
    feats = {level: store.read(chosen, views, level, device) for level in model.filler.in_indices}
    logits = model.filler(feats, maps.to(device), torch.tensor([row for row, _ in pairs], device=device))
    if not agreeing:
        return sum(model.filler.loss(logits, torch.stack([m[rng.integers(len(m))] for m in masks]).to(device)).values())
    targets, agreement = most_agreeing(masks, logits.detach().sigmoid().cpu())
    trusted = model.sampler.trusted(agreement)
    return sum(model.filler.loss(logits[trusted.to(device)], targets[trusted].to(device)).values())


def _load_state(path: str | None, key: str) -> dict:
    """A saved state, if it is one of this very run."""
    state = read_checkpoint(path) if path is not None and osp.isfile(path) else {}
    return state if state.get('key') == key else {}


def _save(path: str, weights: dict[str, Tensor], content: dict) -> None:
    """Write a checkpoint, unless weights in it are not finite."""
    check_finite(weights, f'{path}, which is not written')
    save_checkpoint(content, path)


# ------------------------------------------------------------------------------------------------------- a whole run
@dataclass
class Outcome:
    """What :func:`train_frozen` did.

    Attributes:
        checkpoint (str | None): its file; None where a shard left the rest to the others.
        failed (dict[str, str]): path and error of images that could not be read.
        ap (ClassificationAP | None): of the classes, on images that the judging head had not seen.
        pseudo_masks (ndarray | None): instances with a pseudo mask by class, (C,).
        filler_trained (bool): whether there were enough of them.
    """
    checkpoint: str | None = None
    failed: dict[str, str] = field(default_factory=dict)
    ap: ClassificationAP | None = None
    pseudo_masks: np.ndarray | None = None
    filler_trained: bool = False


def train_frozen(cfg: Config, work_dir: str, recipe: Recipe | None = None, seed: int = 0, weights: str | None = None,
                 device: str = 'cpu', features: str | None = None, shard: str | None = None, least_masks: int = 1,
                 mined_in: str | None = None, judge: bool = False) -> Outcome:
    """Train head and filling module of a config; everything made before in ``work_dir`` is used.

    Args:
        cfg (Config): of an IAMNet; the images are those of ``train_dataloader.dataset``.
        work_dir (str): for states, log and ``model.pth``: head and filling module (the backbone too where its weights
            do not come from an address), class names, recipe and seed, plain tensors.
        recipe (Recipe, optional): by default :meth:`Recipe.for_images`.
        seed (int): of the weights and of all random choices.
        weights (str, optional): checkpoint whose filling module is the start.
        device (str): of the network.
        features (str, optional): folder of the stored features, which several runs may share.
        shard (str, optional): 'i/n': store the features of this share of the images, find their pseudo masks where the
            head is trained, and leave the rest to a run without it.
        mined_in (str, optional): folder of pseudo masks that another run has made (``mined-...`` in its
            ``work_dir``); by default they are made with this run's head.
        judge (bool): cross-validate the head first, for ``Outcome.ap``.
        least_masks (int): with fewer pseudo masks the filling module stays as it is.
    """
    torch.manual_seed(seed)
    model = load_model(cfg, weights).to(device)
    bare, dataset = plain_dataset(cfg, proposals=False), plain_dataset(cfg)
    classes = dataset.metainfo['classes']
    labels = [dataset.get_cat_ids(i) for i in range(len(dataset))]
    if len(classes) != getattr(model.peak_head, 'num_classes', len(classes)):
        raise ValueError(f'model.peak_head.num_classes is {model.peak_head.num_classes}, the data set has '
                         f'{len(classes)} classes')
    recipe = recipe or Recipe.for_images(len(dataset))
    share = take_shard(list(range(len(dataset))), shard)
    store, failed = store_features(model, bare, features or osp.join(work_dir, 'features'), share)
    outcome = Outcome(failed=failed)
    key = fingerprint(vars(recipe), seed, judge, labels, cfg.model.to_dict(), model, store.folder)
    head_file = osp.join(work_dir, 'head.pth')
    state = _load_state(head_file, key)
    if not state and shard is not None:
        return outcome
    if state:
        model.peak_head.load_state_dict(state['head'])
    else:
        classifier = packaged_classifier(model) if recipe.start_from_classifier else None
        judged = cross_validate(model.peak_head, store, labels, recipe, seed, classifier=classifier) if judge else (
            np.zeros(0, int), ) * 2
        loss = train_head(model.peak_head, store, labels, recipe, seed, classifier=classifier)
        print_log(f'head: {recipe.head_steps} steps, loss {loss:.4f}', logger='current')
        state = dict(key=key, head=model.peak_head.state_dict(), images=torch.from_numpy(judged[0]),
                     scores=torch.from_numpy(judged[1]))
        _save(head_file, state['head'], state)
    if len(state['images']):
        held_back = one_hot(labels, len(classes)).numpy()[state['images'].numpy()] > 0
        outcome.ap = classification_average_precision(state['scores'].numpy(), held_back)
        print_log(f'head: AP on held-back images {100 * outcome.ap.mean:.1f}', logger='current')
    settings = repr([cfg.model.get(name) for name in ('peak_head', 'cue', 'sampler', 'filler')])
    folder, failed = (mined_in, {}) if mined_in else mine_views(
        model, dataset, work_dir, [i for i in share if store.done[i]], settings)
    outcome.failed.update(failed)
    if shard is not None:
        return outcome
    mined = read_mined(folder, len(dataset), len(classes), recipe, model.cue)
    found = [label for one in mined.values() for label in one.labels]
    outcome.pseudo_masks = np.bincount(np.array(found, int), minlength=len(classes))
    print_log(f'pseudo masks: {len(found)} on {len(mined)} of {len(dataset)} images', logger='current')
    outcome.filler_trained = len(found) >= least_masks
    if outcome.filler_trained:
        train_filler(model, store, mined, recipe, seed, osp.join(work_dir, 'filler.pth'),
                     fingerprint(key, osp.basename(osp.normpath(folder))))
    outcome.checkpoint = osp.join(work_dir, 'model.pth')
    meta = dict(dataset_meta=dict(classes=list(classes)), mmiam=__version__, seed=seed, recipe=vars(recipe))
    own = own_weights(model)
    _save(outcome.checkpoint, own, dict(meta=meta, state_dict=own))
    return outcome


def own_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict without the parts whose ``init_cfg`` names weights at an address (``pip://...``)."""
    fetched = [name for name, part in model.named_children() if '://' in str(getattr(part, 'init_cfg', ''))]
    return {name: value.cpu() for name, value in model.state_dict().items() if name.split('.')[0] not in fetched}
