"""A training that is killed, without a chance to clean up, ends as an uninterrupted one does."""
import json
import re
import signal
from pathlib import Path

import pytest
import torch
from support import ROOT, add_killer, run_process

pytestmark = pytest.mark.slow

ITERATIONS = 3  # an epoch
EPOCHS = 4  # two of each stage


@pytest.fixture
def run_training(tiny_config, mini_voc, tmp_path):
    """``run_training(name, *flags, kill_at=0)`` -> exit status; the work dir is ``tmp_path / name``."""
    cfg = tiny_config(mini_voc())
    cfg.custom_hooks = [dict(type='TrainingStageHook', fill_begin=2)]
    add_killer(cfg, tmp_path)
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=EPOCHS, val_interval=EPOCHS)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, begin=2, end=3, convert_to_iter_based=True),
        dict(type='PolyLR', power=0.9, begin=3, end=EPOCHS, convert_to_iter_based=True)]
    cfg.log_level = 'INFO'
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True)  # whose random states nobody can ask for
    cfg.dump(tmp_path / 'tiny.py')

    def run(name, *flags, kill_at=0):
        done = run_process(ROOT / 'tools/train.py', 'tiny.py', '--work-dir', name, *flags, cwd=tmp_path,
                           path=[tmp_path], KILL_AT=str(kill_at))
        assert done.returncode in (0, -signal.SIGKILL), done.stdout[-2000:] + done.stderr[-4000:]
        return done.returncode

    return run


def logged(work_dir: Path) -> list[dict]:
    """Logged training steps of all runs in a work dir, in order of time."""
    lines = [json.loads(line) for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
             for line in path.read_text().splitlines()]
    return [line for line in lines if 'lr' in line]


def stages(work_dir: Path) -> list[tuple[str, int]]:
    """(stage, epoch from 1) announced by all runs in a work dir, in order of time."""
    return [(stage, int(epoch)) for path in sorted(work_dir.glob('*/*.log'))
            for stage, epoch in re.findall(r'Training stage "(\w+)" \(epoch (\d+)', path.read_text())]


def outcome(steps: list[dict]) -> list[tuple]:
    """What must not depend on interruptions: epoch, step, learning rate and loss of the stage, for each step."""
    return [(line['epoch'], line['step'], line['lr'], 'loss_fill' in line) for line in steps]


def test_killed_in_either_stage_and_resumed(run_training, tmp_path):
    assert run_training('whole') == 0
    whole = logged(tmp_path / 'whole')
    assert [line['step'] for line in whole] == list(range(1, EPOCHS * ITERATIONS + 1))
    assert [fill for *_, fill in outcome(whole)] == [False] * 6 + [True] * 6
    assert len({line['lr'] for line in whole}) > 4  # the schedule moves

    folder = tmp_path / 'killed'
    steps = []
    for kill_at, flags in ((5, ()), (11, ('--resume', )), (0, ('--resume', ))):
        begin = (len(steps) and steps[-1]['step'] - 1) // ITERATIONS * ITERATIONS  # end of the last finished epoch
        assert run_training('killed', *flags, kill_at=kill_at) == (-signal.SIGKILL if kill_at else 0)
        steps = logged(folder)[len(steps):]
        assert steps[-1]['step'] in ((kill_at - 1, kill_at) if kill_at else (EPOCHS * ITERATIONS, ))
        assert outcome(steps) == outcome(whole[begin:begin + len(steps)])
        steps = logged(folder)
        saved = (kill_at - 1) // ITERATIONS if kill_at else EPOCHS
        assert (folder / 'last_checkpoint').read_text().endswith(f'epoch_{saved}.pth')
    assert stages(folder) == [('classify', 1), ('classify', 2), ('fill', 3), ('fill', 4)]
    compare_checkpoints(folder / f'epoch_{EPOCHS}.pth', tmp_path / 'whole' / f'epoch_{EPOCHS}.pth')


def compare_checkpoints(path: Path, reference: Path) -> None:
    """Both load without pickle; same progress, same schedulers, the bits of the weights."""
    resumed, whole = (torch.load(file, map_location='cpu', weights_only=True) for file in (path, reference))
    for key in ('epoch', 'iter'):
        assert resumed['meta'][key] == whole['meta'][key]
    assert resumed['param_schedulers'] == whole['param_schedulers']
    assert resumed['optimizer']['param_groups'] == whole['optimizer']['param_groups']
    assert resumed['optimizer']['state'].keys() == whole['optimizer']['state'].keys()
    assert resumed['state_dict'].keys() == whole['state_dict'].keys()
    assert all(torch.equal(value, whole['state_dict'][key]) for key, value in resumed['state_dict'].items())


def test_resume_where_the_training_began_with_given_weights(run_training, tmp_path):
    """The latest checkpoint of the work dir goes before ``load_from``, which counts where there is none yet."""
    run_training('first', kill_at=ITERATIONS + 1)
    flags = ('--resume', '--cfg-options', f'load_from={tmp_path / "first" / "epoch_1.pth"}')
    run_training('second', *flags, kill_at=ITERATIONS + 1)
    assert [line['step'] for line in logged(tmp_path / 'second')][:1] == [1]
    log, = (tmp_path / 'second').glob('*/*.log')
    assert re.search(r'Load checkpoint from .*first.epoch_1\.pth', log.read_text())
    run_training('second', *flags, kill_at=ITERATIONS + 2)
    assert sorted({line['epoch'] for line in logged(tmp_path / 'second')}) == [1, 2]
    latest = max((tmp_path / 'second').glob('*/*.log'))
    assert re.search(r'Load checkpoint from .*second.epoch_1\.pth', latest.read_text())
    assert logged(tmp_path / 'second')[-1]['step'] in (ITERATIONS + 1, ITERATIONS + 2)
