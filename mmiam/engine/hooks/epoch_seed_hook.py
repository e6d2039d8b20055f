"""Seed every epoch, so that a resumed run repeats the uninterrupted one."""
from __future__ import annotations

from functools import partial

from mmdet.registry import HOOKS
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import set_random_seed


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed Python, numpy, torch, the sampler and the data loader's workers at the start of each epoch.

    Saving random states with each checkpoint would not be enough: those of persistent data loader workers cannot be
    read from outside. The workers are restarted instead, which takes tens of milliseconds with fork. On the CPU, with
    the same number of workers, a resumed run gives the same bits as an uninterrupted one.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner) -> None:
        # a prime apart: seed + epoch would give epoch 1 of seed 0 the randomness of epoch 0 of seed 1
        seed = (runner.seed + 1_000_003 * runner.epoch) % 2**31
        set_random_seed(seed, diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))
        loader = runner.train_dataloader
        for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
            if sampler is not None and hasattr(sampler, 'seed'):
                sampler.seed = runner.seed  # of the run that is resumed, where the config states none
        if loader.num_workers:
            loader._iterator = None  # persistent workers, whose states are those of the last epoch, end with it
            loader.worker_init_fn = partial(worker_init_fn, num_workers=loader.num_workers, rank=get_rank(), seed=seed)
