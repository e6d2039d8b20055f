import pytest
import torch
from mmengine.config import Config

from mmiam.engine import open_cpu_group

VARIABLES = dict(pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'))


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in ('MASTER_ADDR', 'MASTER_PORT', 'SLURM_NODELIST', *sum(VARIABLES.values(), ())):
        monkeypatch.setenv(name, '')  # so that what is set below is undone
        monkeypatch.delenv(name)


def test_nothing_without_launcher_or_with_cuda(monkeypatch):
    assert not open_cpu_group(Config(dict(launcher='none'))) and not open_cpu_group(Config(dict()))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert not open_cpu_group(Config(dict(launcher='pytorch')))


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm'])
def test_the_group_is_opened_by_gloo(launcher, monkeypatch):
    cfg = Config(dict(launcher=launcher, env_cfg=dict(dist_cfg=dict(backend='nccl')),
                      model_wrapper_cfg=dict(type='MMDistributedDataParallel', find_unused_parameters=True)))
    for name, value in zip(VARIABLES[launcher], ('1', '2', '1')):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    opened = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', opened.append)
    assert open_cpu_group(cfg) and opened == ['gloo'] and cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert cfg.model_wrapper_cfg.device_ids is None and cfg.model_wrapper_cfg.find_unused_parameters
    import os
    assert [os.environ[name] for name in VARIABLES['pytorch']] == ['1', '2', '1']


def test_a_missing_launcher_is_a_sentence(monkeypatch):
    with pytest.raises(ValueError, match='RANK is not set: start it with tools/dist_train.sh'):
        open_cpu_group(Config(dict(launcher='pytorch')))
    for name in VARIABLES['slurm']:
        monkeypatch.setenv(name, '0')
    monkeypatch.setenv('PATH', '')
    with pytest.raises(ValueError, match='the first host of the job is not known .*set MASTER_ADDR'):
        open_cpu_group(Config(dict(launcher='slurm')))
