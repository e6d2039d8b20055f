"""Values that are not finite, and seeds."""
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import DefaultSampler
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader, Dataset

from mmiam.engine.hooks import EpochSeedHook, FiniteCheckHook


def test_a_loss_that_is_no_number_stops_the_run():
    runner = SimpleNamespace(epoch=2, iter=7, optim_wrapper=SimpleNamespace(get_lr=lambda: dict(lr=[0.1, 1e20])))
    hook, batch = FiniteCheckHook(), dict(data_samples=[DetDataSample(metainfo=dict(img_path='a/b.jpg'))])
    hook.after_train_iter(runner, 0, batch, dict(loss=torch.tensor(1.), peaks=torch.tensor(float('nan'))))
    for value in ('nan', 'inf'):
        with pytest.raises(FloatingPointError, match=f'loss_fill is {value} in epoch 3, iteration 8, on a/b.jpg, at '
                           r'learning rates up to 1e\+20: .*Lower optim_wrapper.optimizer.lr'):
            hook.after_train_iter(runner, 0, batch, dict(loss=torch.tensor(1.), loss_fill=torch.tensor(float(value))))


def test_scores_that_are_no_numbers_stop_a_test():
    def sample(name, score, class_score):
        one = DetDataSample(metainfo=dict(img_path=name), pred_instances=InstanceData(scores=torch.tensor([score])))
        one.set_field(torch.tensor([class_score]), 'pred_class_scores')
        return one
    hook = FiniteCheckHook()
    hook.after_test_iter(None, 0, None, [sample('a.jpg', .5, -float('inf')), DetDataSample()])
    for bad in (sample('b.jpg', float('nan'), 1.), sample('b.jpg', 1., float('nan'))):
        with pytest.raises(FloatingPointError, match='b.jpg: the scores are NaN'):
            hook.after_test_iter(None, 0, None, [sample('a.jpg', .5, 1.), bad])


class Draws(Dataset):
    """What Python, numpy and torch draw for an item."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(()).item()


@pytest.mark.parametrize('workers', [0, 2])
def test_what_is_random_follows_from_the_epoch(workers):
    """A run that begins in epoch 2 draws what an uninterrupted one draws there; persistent workers too."""
    def run(epochs, seed=3):
        loader = DataLoader(Draws(), 2, sampler=DefaultSampler(Draws(), shuffle=True, seed=99), num_workers=workers,
                            persistent_workers=workers > 0, collate_fn=list)
        runner = SimpleNamespace(seed=seed, train_dataloader=loader, _randomness_cfg={})
        drawn = {}
        for runner.epoch in epochs:
            EpochSeedHook().before_train_epoch(runner)
            loader.sampler.set_epoch(runner.epoch)
            drawn[runner.epoch] = [*loader, torch.rand(2).tolist()]
        return drawn
    whole, resumed = run(range(4)), run(range(2, 4))
    assert resumed == {epoch: whole[epoch] for epoch in (2, 3)}
    assert whole[2] != whole[3] and run([2], seed=4)[2] != whole[2]
