"""Step 4: train the filling module on stored features and mined pseudo masks."""
from __future__ import annotations

import math

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmiam.models.cues import simulate_prompts
from mmiam.models.samplers.proposal_pseudo_gt_sampler import choose_most_agreeing

from .features import FeatureStore
from .mining import Instances
from .recipe import BATCH, Recipe, load_state, optimize, save, weigh_images

_SAVE_EVERY = 100  # steps between two saved states


def train_filler(model: nn.Module, store: FeatureStore, mined: dict[int, Instances], recipe: Recipe, seed: int = 0,
                 state_file: str | None = None, key: str = '') -> float:
    """Train the filling module by its own loss on mined pseudo masks.

    ``max_instances`` and ``prompt_ratio`` come from the model's ``train_cfg``, and the share of instances trained on
    from the sampler's ``trusted_fraction``.

    Args:
        model (IAMNet): model whose ``filler`` is trained in place.
        store (FeatureStore): features of the same images as ``mined``.
        mined (dict[int, Instances]): result of :func:`read_mined`, not empty.
        recipe (Recipe): provides ``fill_steps``, learning rate and so on.
        seed (int): seed of all random choices; each step derives its own from it, so a resumed run equals one that was
            never interrupted.
        state_file (str, optional): file in which the state is saved every 100 steps; a state found there with the same
            ``key`` is resumed.
        key (str): identifies the run.

    Returns:
        float: mean loss over the last tenth of all steps, as far as this call made them; NaN if none were left.
    """
    filler = model.filler
    optimizer = torch.optim.AdamW(filler.parameters(), lr=recipe.fill_lr, weight_decay=recipe.weight_decay)
    state = load_state(state_file, key)
    if state:
        filler.load_state_dict(state['filler'])
        optimizer.load_state_dict(state['optimizer'])
    images, losses, warm = list(mined), [], max(1, min(100, recipe.fill_steps // 10))
    odds = weigh_images([mined[i].labels.tolist() for i in images], recipe.balance)
    pooling, filler.pooling = filler.pooling, 1  # the maps have the size of the grid already
    filler.train()
    try:
        for step in range(state.get('step', 0), recipe.fill_steps):
            rate = recipe.fill_lr * min(1, (step + 1) / warm) * (1 - step / recipe.fill_steps)**0.9
            optimizer.param_groups[0]['lr'] = rate
            loss = _compute_loss(model, store, mined, images, odds, (seed, step),
                                 step >= recipe.select_from * recipe.fill_steps)
            losses.append(optimize(optimizer, loss, f'filling module, step {step + 1}'))
            if (step + 1) % _SAVE_EVERY == 0 or step + 1 == recipe.fill_steps:
                print_log(f'filling module: step {step + 1} of {recipe.fill_steps}, '
                          f'loss {np.mean(losses[-_SAVE_EVERY:]):.3f}', logger='current')
                if state_file is not None:
                    save(state_file, filler.state_dict(), dict(
                        key=key, step=step + 1, filler=filler.state_dict(), optimizer=optimizer.state_dict()))
    finally:
        filler.pooling = pooling
        filler.eval()
    return float(np.mean(losses[-max(1, recipe.fill_steps // 10):])) if losses else math.nan


def _compute_loss(model: nn.Module, store: FeatureStore, mined: dict[int, Instances], images: list[int],
                  odds: np.ndarray, seed: tuple[int, int], selecting: bool) -> Tensor:
    """Compute the loss of one random batch."""
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
    if not selecting:
        return sum(model.filler.loss(logits, torch.stack([m[rng.integers(len(m))] for m in masks]).to(device)).values())
    targets, agreement = choose_most_agreeing(masks, logits.detach().sigmoid().cpu())
    trusted = model.sampler.trusted(agreement)
    return sum(model.filler.loss(logits[trusted.to(device)], targets[trusted].to(device)).values())
