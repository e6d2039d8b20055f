import hashlib
from pathlib import Path

import pytest
import torch

from mmiam.engine import read_checkpoint
from mmiam.engine.publishing import publish, save_checkpoint, state_dict_of


@pytest.fixture
def run(tmp_path):
    """A checkpoint as a training leaves it."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=.1, momentum=.9)
    model(torch.rand(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    meta = dict(epoch=12, iter=90, seed=0, cfg="work_dir = '/home/someone'", hostname='mine', dataset_meta=dict(
        classes=('cat', 'dog')))
    torch.save(dict(state_dict=model.state_dict(), optimizer=optimizer.state_dict(), message_hub={}, meta=meta,
                    param_schedulers=[{}]), tmp_path / 'epoch_12.pth')
    return str(tmp_path / 'epoch_12.pth')


def test_stripped_and_named_by_its_hash(run, tmp_path):
    path, digest = publish(run, str(tmp_path / 'out' / 'model.pth'), notes=dict(config='a.py'))
    assert Path(path).name == f'model-{digest[:8]}.pth'
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest
    content, source = read_checkpoint(path), read_checkpoint(run)
    assert content.keys() == {'state_dict', 'meta'}
    assert all(torch.equal(content['state_dict'][key], value) for key, value in source['state_dict'].items())
    assert content['meta'].pop('mmiam_version')
    assert content['meta'] == dict(epoch=12, iter=90, seed=0, dataset_meta=dict(classes=('cat', 'dog')), config='a.py')
    assert b'someone' not in Path(path).read_bytes() and b'hostname' not in Path(path).read_bytes()
    again, same = publish(path, str(tmp_path / 'out' / Path(path).name), notes=dict(config='a.py'))
    assert (again, same) == (path, digest)  # a published file published anew is the same


def test_half(run, tmp_path):
    state = read_checkpoint(publish(run, str(tmp_path / 'm.pth'), half=True)[0])['state_dict']
    assert state['0.weight'].dtype == torch.float16 and state['1.running_var'].dtype == torch.float32
    assert state['1.num_batches_tracked'].dtype == torch.int64


def test_weights_that_are_not_finite_or_too_large(tmp_path):
    save_checkpoint(dict(w=torch.tensor([1., float('nan')])), tmp_path / 'nan.pth')
    with pytest.raises(ValueError, match='nan.pth: w .* is not finite'):
        publish(str(tmp_path / 'nan.pth'), str(tmp_path / 'out.pth'))
    save_checkpoint(dict(w=torch.tensor([1e9])), tmp_path / 'big.pth')
    with pytest.raises(ValueError, match='big.pth: w leaves the range'):
        publish(str(tmp_path / 'big.pth'), str(tmp_path / 'out.pth'), half=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['big.pth', 'nan.pth']


def test_nothing_to_publish():
    with pytest.raises(ValueError, match='x.pth holds no tensors'):
        state_dict_of(dict(meta={}), 'x.pth')
    assert list(state_dict_of(dict(model=dict(w=torch.ones(1))), 'x.pth')) == ['w']
