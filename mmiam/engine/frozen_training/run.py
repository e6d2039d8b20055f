"""A whole run: train head and filling module of a config, from images to a checkpoint."""
from __future__ import annotations

import os.path as osp
from dataclasses import dataclass, field

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor, nn

from mmiam.evaluation.functional.classification_ap import ClassificationAP, classification_average_precision
from mmiam.models.heads.peak_stimulation_head import one_hot
from mmiam.utils.checkpoints import fingerprint
from mmiam.utils.jobs import take_shard
from mmiam.version import __version__

from .features import FeatureStore, build_plain_dataset, load_model, store_features
from .filler import train_filler
from .head import cross_validate, read_packaged_classifier, train_head
from .mining import mine_views, read_mined
from .recipe import Recipe, load_state, save


@dataclass
class Outcome:
    """The result of :func:`train_frozen`.

    Attributes:
        checkpoint (str | None): its file; None if a shard left the rest to a run without shards.
        failed (dict[str, str]): path and error of each image that could not be read.
        ap (ClassificationAP | None): average precision of the classes, on images that the judging head had not seen.
        pseudo_masks (ndarray | None): number of instances with a pseudo mask for each class, (C,).
        filler_trained (bool): whether there were enough of them to train the filling module.
    """
    checkpoint: str | None = None
    failed: dict[str, str] = field(default_factory=dict)
    ap: ClassificationAP | None = None
    pseudo_masks: np.ndarray | None = None
    filler_trained: bool = False


def train_frozen(cfg: Config, work_dir: str, recipe: Recipe | None = None, seed: int = 0, weights: str | None = None,
                 device: str = 'cpu', features: str | None = None, shard: str | None = None, least_masks: int = 1,
                 mined_in: str | None = None, judge: bool = False) -> Outcome:
    """Train head and filling module of a config; whatever a previous run made in ``work_dir`` is reused.

    Args:
        cfg (Config): config of an IAMNet; the images are those of ``train_dataloader.dataset``.
        work_dir (str): folder for states, log and ``model.pth``, which contains head and filling module (and the
            backbone, unless its weights come from an address), class names, recipe and seed, as plain tensors.
        recipe (Recipe, optional): by default that of :meth:`Recipe.for_images`.
        seed (int): seed of the weights and of all random choices.
        weights (str, optional): checkpoint whose filling module training starts from.
        device (str): device of the network.
        features (str, optional): folder of the stored features, which several runs may share.
        shard (str, optional): 'i/n': store the features of this share of the images, find their pseudo masks if the
            head is trained already, and leave the rest to a run without ``shard``.
        least_masks (int): with fewer pseudo masks, the filling module is not trained.
        mined_in (str, optional): folder of pseudo masks that another run has made (``mined-...`` in its
            ``work_dir``); by default they are made with this run's head.
        judge (bool): cross-validate the head first, for ``Outcome.ap``.
    """
    torch.manual_seed(seed)
    model = load_model(cfg, weights).to(device)
    bare, dataset = build_plain_dataset(cfg, proposals=False), build_plain_dataset(cfg)
    classes = dataset.metainfo['classes']
    labels = [dataset.get_cat_ids(i) for i in range(len(dataset))]
    if len(classes) != getattr(model.peak_head, 'num_classes', len(classes)):
        raise ValueError(f'model.peak_head.num_classes is {model.peak_head.num_classes}, the data set has '
                         f'{len(classes)} classes')
    recipe = recipe or Recipe.for_images(len(dataset))
    share = take_shard(list(range(len(dataset))), shard)

    # the same weights give different features at different strides
    network = repr([cfg.model.backbone.to_dict(), cfg.model.data_preprocessor.to_dict()])
    store, failed = store_features(model, bare, features or osp.join(work_dir, 'features'), share, network)
    outcome = Outcome(failed=failed)

    key = fingerprint(vars(recipe), seed, judge, labels, cfg.model.to_dict(), model, store.folder)
    head_file = osp.join(work_dir, 'head.pth')
    state = load_state(head_file, key)
    if not state:
        if shard is not None:  # the head needs the features of all shares
            return outcome
        state = dict(key=key, **_make_head(model, store, labels, recipe, seed, judge))
        save(head_file, state['head'], state)
    model.peak_head.load_state_dict(state['head'])
    if len(state['images']):
        outcome.ap = classification_average_precision(
            state['scores'].numpy(), one_hot([labels[i] for i in state['images']], len(classes)).numpy() > 0)
        print_log(f'head: AP on held-back images {100 * outcome.ap.mean:.1f}', logger='current')

    if mined_in is None:
        settings = repr([osp.basename(store.folder), *map(cfg.model.get, ('peak_head', 'cue', 'sampler', 'filler'))])
        mined_in, failed = mine_views(model, dataset, work_dir, [i for i in share if store.done[i]], settings)
        outcome.failed.update(failed)
    if shard is not None:
        return outcome
    mined = read_mined(mined_in, len(dataset), len(classes), recipe, model.cue)
    found = [label for one in mined.values() for label in one.labels]
    outcome.pseudo_masks = np.bincount(np.array(found, int), minlength=len(classes))
    print_log(f'pseudo masks: {len(found)} on {len(mined)} of {len(dataset)} images', logger='current')

    outcome.filler_trained = len(found) >= least_masks
    if outcome.filler_trained:
        train_filler(model, store, mined, recipe, seed, osp.join(work_dir, 'filler.pth'),
                     fingerprint(key, osp.basename(osp.normpath(mined_in))))

    outcome.checkpoint = osp.join(work_dir, 'model.pth')
    own = own_weights(model)
    meta = dict(dataset_meta=dict(classes=list(classes)), mmiam=__version__, seed=seed, recipe=vars(recipe),
                packages=packages(model))
    save(outcome.checkpoint, own, dict(meta=meta, state_dict=own))
    return outcome


def _make_head(model: nn.Module, store: FeatureStore, labels: list, recipe: Recipe, seed: int, judge: bool) -> dict:
    """Train the head, and if asked to, compute cross-validated scores of the images."""
    classifier = read_packaged_classifier(model) if recipe.start_from_classifier else None
    images, scores = np.zeros(0, int), np.zeros(0)
    if judge:  # first, so that its heads start from the same weights
        images, scores = cross_validate(model.peak_head, store, labels, recipe, seed, classifier=classifier)
    loss = train_head(model.peak_head, store, labels, recipe, seed, classifier=classifier)
    print_log(f'head: {recipe.head_steps} steps, loss {loss:.4f}', logger='current')
    return dict(head=model.peak_head.state_dict(), images=torch.from_numpy(images), scores=torch.from_numpy(scores))


def own_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict without the parts whose ``init_cfg`` names weights at an address (``pip://...``)."""
    fetched = packages(model)
    return {name: value.cpu() for name, value in model.state_dict().items() if name.split('.')[0] not in fetched}


def packages(model: nn.Module) -> dict[str, str]:
    """Map each part of the model whose ``init_cfg`` names an address of weights to that address."""
    return {name: part.init_cfg['checkpoint'] for name, part in model.named_children()
            if '://' in str(getattr(part, 'init_cfg', ''))}
