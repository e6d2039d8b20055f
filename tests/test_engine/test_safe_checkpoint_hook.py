import os
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import save_checkpoint

from mmiam.engine.hooks.safe_checkpoint_hook import SafeCheckpointHook, to_plain


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """What fits is tested with the tools and in tests/test_utils/test_checkpoints.py."""
    monkeypatch.setattr(SafeCheckpointHook, 'check', staticmethod(lambda runner, checkpoint: None))


def test_checkpoint_survives_the_safe_loader(tmp_path):
    buffer = HistoryBuffer([1., 3.], [1, 2], max_length=7)
    checkpoint = dict(
        state_dict=dict(weight=torch.ones(2)), meta=dict(seed=np.int64(3), epoch=1, names=('a', 'b')),
        message_hub=dict(log_scalars={'train/loss': buffer}, runtime_info=dict(iter=4, last=deque([1, 2]))))
    SafeCheckpointHook().before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / 'c.pth')
    loaded = torch.load(tmp_path / 'c.pth', weights_only=True)
    SafeCheckpointHook().after_load_checkpoint(None, loaded)
    restored = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(restored, HistoryBuffer) and restored.mean(2) == buffer.mean(2) == pytest.approx(4 / 3)
    assert all(np.array_equal(a, b) for a, b in zip(restored.data, buffer.data)) and restored.max_length == 7
    assert loaded['meta'] == dict(seed=3, epoch=1, names=('a', 'b'))
    assert loaded['message_hub']['runtime_info'] == dict(iter=4, last=[1, 2])


def test_plain_values():
    assert type(to_plain(np.float64(2.5))) is float and type(to_plain(np.bool_(True))) is bool
    assert torch.equal(to_plain(np.arange(3)), torch.arange(3)) and to_plain({'a': {1}}) == {'a': [1]}
    with pytest.raises(TypeError, match='cannot write a object into a checkpoint'):
        to_plain([object()])


def test_a_checkpoint_without_history_loads():
    SafeCheckpointHook().after_load_checkpoint(None, dict(state_dict={}))


def test_weights_that_are_no_numbers_are_not_saved():
    state = dict(a=torch.ones(1), b=torch.tensor([1., float('inf')]))
    with pytest.raises(FloatingPointError, match='not saved: 1 of 2 weights are infinite .* the first is b'):
        SafeCheckpointHook().before_save_checkpoint(None, dict(state_dict=state))


def test_a_checkpoint_that_is_not_written_to_its_end_leaves_the_one_before(tmp_path, monkeypatch):
    """As a kill during a save: a file under the final name is never half written."""
    hook = CheckpointHook(interval=1)
    SafeCheckpointHook().before_run(SimpleNamespace(hooks=[hook]))
    path = str(tmp_path / 'epoch_1.pth')
    save_checkpoint(dict(state_dict=dict(w=torch.ones(3))), path, backend_args=hook.backend_args)

    class Killed(BaseException):
        pass

    def kill(*names):
        raise Killed
    monkeypatch.setattr(os, 'replace', kill)
    with pytest.raises(Killed):
        save_checkpoint(dict(state_dict=dict(w=torch.zeros(3))), path, backend_args=hook.backend_args)
    assert torch.load(path, weights_only=True)['state_dict']['w'].tolist() == [1, 1, 1]
    own = CheckpointHook(interval=1, backend_args=dict(backend='petrel'))
    SafeCheckpointHook().before_run(SimpleNamespace(hooks=[own]))
    assert own.backend_args == dict(backend='petrel')
