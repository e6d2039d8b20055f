"""How ``tools/train.py`` ends: one sentence and a status for what a user can mend."""
import fcntl
import re
import shutil
import socket

import pytest
import torch
from mmdet.registry import MODELS

from mmiam.apis import init_model
from mmiam.apis.options import run_tool, sentence
from mmiam.utils.files import CannotWrite

REFUSED = 'is refused and nothing in it was run'


@pytest.fixture
def train(tiny_config, call_tool, tmp_path, monkeypatch, capsys):
    """``train(*flags)`` -> exit status and what is on stderr; the classifier's stage of three steps alone."""
    cfg = tiny_config()
    cfg.train_cfg.max_epochs = 1
    cfg.dump(tmp_path / 'tiny.py')
    monkeypatch.chdir(tmp_path)

    def run(*flags):
        status = call_tool('tools/train.py', 'tiny.py', *flags)
        return status, capsys.readouterr().err

    run.cfg = cfg
    return run


def test_a_training_that_diverges_saves_nothing(train, tmp_path):
    status, said = train('--cfg-options', 'optim_wrapper.optimizer.lr=1e20')
    assert status == 1 and 'Traceback' not in said
    assert re.search(r'error: (loss\w* is (nan|inf) .*Lower optim_wrapper.optimizer.lr|not saved: )', said)
    assert not list((tmp_path / 'work').glob('*.pth'))


@pytest.mark.slow
def test_a_work_dir_belongs_to_one_training(train, tmp_path):
    (tmp_path / 'work').mkdir()
    with open(tmp_path / 'work/.lock', 'w') as file:
        file.write('process 12 on elsewhere')
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        status, said = train()
    assert status == 2 and 'another training (process 12 on elsewhere) writes into' in said
    assert not list((tmp_path / 'work').glob('*.pth'))
    assert train()[0] == 0 and socket.gethostname() in (tmp_path / 'work/.lock').read_text()
    log = next((tmp_path / 'work').glob('*/*.log')).read_text()
    assert 'paramwise_options' not in log


@pytest.mark.slow
@pytest.mark.parametrize('flags, message', [
    (['--cfg-options', 'model.peak_head.nonsense=3'], 'tiny.py: .*nonsense'),
    (['--cfg-options', 'train_dataloader.dataset.pipeline.1.proposal_root=.'],
     '3 of 3 training images have no proposals, the first is t0.npz; make them: .*generate.py'),
    (['--cfg-options', 'load_from=other.pth'], 'other.pth is of another model: 0 of'),
    (['--cfg-options', 'load_from=half.pth', 'custom_hooks.0.fill_begin=0'], 'half.pth lacks .* peak_head.classifier'),
    (['--cfg-options', 'custom_hooks.0.fill_begin=0'], 'give its checkpoint, --cfg-options load_from='),
    (['--resume', 'nowhere.pth'], 'nowhere.pth.* does not exist'),
    (['--resume', 'bare.pth'], 'bare.pth has weights and not the state of a training.*load_from='),
    (['--resume', 'hostile.pth'], REFUSED),
    (['--resume', '--work-dir', 'latest'], f'epoch_1.pth {REFUSED}.*without --resume'),
    (['--cfg-options', 'load_from=hostile.pth'], REFUSED),
    (['--cfg-options', 'model.cue.checkpoint=hostile.pth'], REFUSED),
    (['--cfg-options', 'model.backbone.init_cfg.type=Pretrained'], '--cfg-options do not fit tiny.py'),
    (['--work-dir', 'tiny.py/below'], 'error: .*tiny.py')])
def test_wrong_use_is_one_sentence(flags, message, train, hostile, tmp_path):
    state = MODELS.build(train.cfg.model).state_dict()
    torch.save(dict(state_dict=dict(w=torch.ones(1))), 'other.pth')
    torch.save(dict(state_dict={key: value for key, value in state.items() if key.startswith('backbone.')}), 'half.pth')
    torch.save(dict(state_dict=state), 'bare.pth')
    (tmp_path / 'latest').mkdir()
    shutil.copy(hostile, tmp_path / 'latest/epoch_1.pth')
    (tmp_path / 'latest/last_checkpoint').write_text('epoch_1.pth')
    status, said = train(*flags)
    assert status == 2 and 'Traceback' not in said and re.search(message, said), said


def test_the_demo_refuses_too(train, hostile, call_tool, tmp_path, capsys):
    image = next(tmp_path.glob('mini_voc_*/JPEGImages/*.jpg'))
    assert call_tool('demo/image_demo.py', image, 'tiny.py', '--weights', hostile, '--out-dir', 'out') == 2
    assert REFUSED in capsys.readouterr().err
    with pytest.raises(ValueError, match=REFUSED):
        init_model('tiny.py', str(hostile), device='cpu')


def test_sentences_and_statuses(capsys):
    def fail(error):
        def work():
            raise error
        return work
    in_worker = ValueError('Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call '
                           'last):\n'
                           '  File "x.py", line 3, in y\n    raise ValueError(z)\nValueError: image a.jpg is damaged')
    assert sentence(in_worker) == 'image a.jpg is damaged'
    for error, status, words in (
            (ValueError('bad key'), 2, 'bad key'), (KeyError('no such'), 2, 'no such'),
            (FloatingPointError('loss is nan'), 1, 'loss is nan'),
            (OSError(28, 'No space left', 'a/b'), 1, 'make room'),
            (OSError(30, 'Read-only file system', 'a/b'), 1, 'a/b: Read-only file system; the folder can only be read'),
            (CannotWrite(28, 'No space left', 'c'), 1, 'c cannot be written'), (in_worker, 2, 'a.jpg is damaged')):
        assert run_tool(fail(error)) == status and words in capsys.readouterr().err
    assert run_tool(lambda: None) == 0 and run_tool(lambda: 1) == 1 and run_tool(fail(KeyboardInterrupt())) == 130
    with pytest.raises(RuntimeError):  # a fault of the program keeps its traceback
        run_tool(fail(RuntimeError('bug')))
