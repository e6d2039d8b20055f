import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmiam.engine.runs import build_runner


@pytest.mark.parametrize('gpu', [True, False])
def test_loaders_pin_their_batches_where_there_is_a_gpu(monkeypatch, gpu):
    class Stop(Exception):
        pass

    def built(cfg):
        raise Stop

    monkeypatch.setattr(Runner, 'from_cfg', built)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    cfg = Config(dict(train_dataloader=dict(batch_size=1), val_dataloader=dict(pin_memory=False), test_dataloader=None))
    with pytest.raises(Stop):
        build_runner(cfg)
    assert cfg.train_dataloader.get('pin_memory', False) is gpu
    assert cfg.val_dataloader.pin_memory is False and cfg.test_dataloader is None
