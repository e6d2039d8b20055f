"""Seeding of every epoch, so that a resumed run repeats an uninterrupted one."""
from __future__ import annotations

from functools import partial

from mmdet.registry import HOOKS
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import set_random_seed


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Hook that seeds Python, numpy, torch, the sampler and the data loader's workers at the start of each epoch.

    Saving random states with each checkpoint would not be enough, because those of persistent data loader workers
    cannot be read from outside. The workers are restarted instead, which takes tens of milliseconds with fork. On the
    CPU, with the same number of workers, a resumed run is bit-identical to an uninterrupted one.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner) -> None:
        # epochs are a prime apart: with seed + epoch, epoch 1 of seed 0 would repeat the choices of epoch 0 of seed 1
        seed = (runner.seed + 1_000_003 * runner.epoch) % 2**31
        set_random_seed(seed, diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))
        loader = runner.train_dataloader
        for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
            if sampler is not None and hasattr(sampler, 'seed'):
                sampler.seed = runner.seed  # that of the resumed run if the config states none
        if loader.num_workers:
            loader._iterator = None  # ends persistent workers, which carry the states of the last epoch
            loader.worker_init_fn = partial(worker_init_fn, num_workers=loader.num_workers, rank=get_rank(), seed=seed)
