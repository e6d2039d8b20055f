"""Checkpoints are whole, and of the model and the classes that they are read for."""
import io
import tracemalloc
import warnings
import zipfile

import pytest
import torch
from torch import nn

from mmiam.utils.checkpoints import (
    check_class_count,
    check_finite,
    check_fit,
    check_packages,
    classes_of,
    match_classes,
    read_checkpoint,
    save_checkpoint,
    state_dict_of,
)


def model(classes=2):
    net = nn.Module()
    net.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    net.peak_head = nn.Module()
    net.peak_head.classifier = nn.Conv2d(4, classes, 1)
    net.filler = nn.Linear(2, 2)
    return net


def without(state, *starts):
    return {key: value for key, value in state.items() if not key.startswith(starts)}


WEIGHT = torch.arange(400.)


def flip(data):
    """torch alone loads another weight."""
    data[data.index(WEIGHT.numpy().tobytes()) + 200] ^= 1
    assert torch.load(io.BytesIO(data), weights_only=True)['state_dict']['w'].shape == (400, )
    return data


def mark_as_folder(data):
    """torch reads nothing of such a tensor, and gives what memory happens to hold."""
    entry = data.index(b'PK\1\2', data.index(b'/data/0') + 8)  # of the directory, from its second entry on
    while b'/data/0' not in data[entry:entry + 70]:
        entry = data.index(b'PK\1\2', entry + 4)
    data[entry + 38] |= 0x10
    return data


def add(data, name, method=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(buffer := io.BytesIO(data), 'a') as archive:
        warnings.simplefilter('ignore')  # of equal names
        archive.writestr(name, bytes(99), method)
    return buffer.getvalue()


#: torch reads what begins so by its older layout, without check sums; here it states a text of a gigabyte
BEFORE = b'X\xf6\xb2\xdc<\x1b'


@pytest.mark.parametrize('change, message', [
    (flip, 'another CRC-32'), (mark_as_folder, 'data/0 in it is a folder'),
    (lambda data: BEFORE + data, 'does not begin with its first member'),
    (lambda data: BEFORE + data[:-30], 'begins like neither layout'),  # no archive any more
    (lambda data: add(data, 'a/packed', zipfile.ZIP_DEFLATED), 'a/packed in it is compressed'),
    (lambda data: add(data, 'archive/data.pkl'), 'archive/data.pkl is in it more than once'),
    (lambda data: b'', 'is empty'), (lambda data: data[:999], 'begins like neither|truncated')])
def test_a_damaged_archive_is_refused_before_anything_is_made_of_it(tmp_path, change, message):
    save_checkpoint(dict(state_dict=dict(w=WEIGHT)), path := tmp_path / 'a.pth')
    assert torch.equal(read_checkpoint(str(path))['state_dict']['w'], WEIGHT)
    path.write_bytes(change(bytearray(path.read_bytes())))
    tracemalloc.start()
    with pytest.raises(ValueError, match=f'a.pth .*{message}'):
        read_checkpoint(str(path))
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize('change, message', [
    (lambda s: {**s, 'filler.weight': s['filler.weight'].to(torch.int8)}, '1 weights are torch.int8.* quantized'),
    (lambda s: without(s, 'peak_head'), 'lacks 2 of the .* weights of Module: peak_head.classifier.weight'),
    (lambda s: without(s, 'filler'), 'lacks 2 .*filler.weight'),
    (lambda s: without(s, 'backbone.1.running_var'), 'lacks 1 .*backbone.1.running_var'),
    (lambda s: s | {'backbone.3.weight': torch.ones(1)}, 'has 1 weights that Module has no place for: backbone.3'),
    (lambda s: s | {'backbone.0.weight': torch.ones(4, 3, 3, 3)}, r'of another model: 1 of its weights have other '
     r'shapes, the first is backbone.0.weight, \(4, 3, 3, 3\) in place of \(4, 3, 1, 1\)'),
    (lambda s: model(5).state_dict(), 'peak_head.classifier.weight.* the classes of the config are not those'),
    (lambda s: {f'net.{key}': value for key, value in s.items()}, 'of another model: 0 of the .*net.backbone.0.weight'),
    (lambda s: s | {'backbone.0.bias': torch.full((4, ), 1e300, dtype=torch.float64)}, 'infinite or no numbers'),
    (lambda s: s | {'backbone.0.bias': torch.tensor([1., float('inf'), 1., 1.])}, 'infinite or no numbers, the first')])
def test_weights_that_do_not_fit(change, message):
    state = model().state_dict()
    check_fit(model(), state, 'a.pth')
    with pytest.raises(ValueError, match=f'a.pth.*{message}'):
        check_fit(model(), change(dict(state)), 'a.pth')


def test_what_may_differ():
    net = model()
    state = without(net.state_dict(), 'backbone.1.num_batches_tracked') | {'roi_head.weight': torch.ones(1)}
    check_fit(net, state, 'a.pth')
    check_fit(net, without(state, 'filler'), 'a.pth', ('backbone', 'peak_head'))
    net.filler.own_weights = True  # has a file of its own
    check_fit(net, without(state, 'filler'), 'a.pth')
    with pytest.raises(ValueError, match='lacks 1 .*filler.bias'):
        check_fit(net, without(state, 'filler.bias'), 'a.pth')


def test_classes_in_another_order():
    before, wanted = model(3).state_dict(), ['c', 'a', 'b']
    for found in (wanted, None):
        assert not match_classes(dict(before), found, wanted, 'a.pth')
    assert match_classes(state := dict(before), ('a', 'b', 'c'), wanted, 'a.pth')
    for key, value in before.items():
        assert torch.equal(state[key], value[[2, 0, 1]] if key.startswith('peak_head') else value)


@pytest.mark.parametrize('check, message', [
    (lambda state: match_classes(state, ('a', 'b', 'c'), ['a', 'b', 'd'], 'a.pth'),
     'knows the classes a, b, c, the data set a, b, d; c, d are in one alone'),
    (lambda state: match_classes({'roi_head.weight': torch.ones(3)}, ('a', 'b', 'c'), ['b', 'a', 'c'], 'a.pth'),
     'in their order'),
    (lambda state: check_class_count(state, ('a', 'b'), 'a.pth'), 'names 2 classes .a, b. and has a head of 3'),
    (lambda state: check_class_count(state, ('a', 'b', 'c', 'd'), 'a.pth'), 'names 4 classes .* and has a head of 3'),
    (lambda state: check_class_count(state, ('a', 'a', 'b'), 'a.pth'), 'names 2 classes .a, a, b. and has'),
    (lambda state: state_dict_of(dict(state_dict={}), 'a.pth'), 'holds no weights'),
    # of these mmengine leaves the weight random
    (lambda state: state_dict_of(dict(w=torch.ones(2, 2).to_sparse()), 'a.pth'), 'w is a sparse tensor'),
    (lambda state: state_dict_of(dict(w=torch.ones(2, device='meta')), 'a.pth'), 'w is .* without values')])
def test_other_classes_and_no_weights(check, message):
    check_class_count(model(3).state_dict(), ('a', 'b', 'c'), 'a.pth')
    with pytest.raises(ValueError, match=f'a.pth.*{message}'):
        check(model(3).state_dict())


def test_a_filling_module_trained_beside_another_backbone():
    """EfficientNet-Lite0 and 1 have the same shapes on the way to the filling module."""
    net, content = model(), dict(meta=dict(packages=dict(backbone='pip://lite0')))
    net.backbone.init_cfg = dict(checkpoint='pip://lite0')
    for same in (content, {}, dict(meta=None), dict(meta=dict(packages=3))):
        check_packages(net, same, 'a.pth')
    net.backbone.init_cfg = dict(checkpoint='pip://lite1')
    with pytest.raises(ValueError, match='a.pth was trained beside the weights pip://lite0 of its backbone.*lite1'):
        check_packages(net, content, 'a.pth')


@pytest.mark.parametrize('meta, names', [
    (dict(dataset_meta=dict(classes=['a', 'b'])), ('a', 'b')), (dict(CLASSES=('a', )), ('a', )), (None, None),
    ([1], None), (dict(dataset_meta=dict(classes=3)), None)])
def test_names_of_classes(meta, names):
    assert classes_of(dict(meta=meta)) == names and classes_of({}) is None


def test_state_dicts():
    for content in ({'module.w': torch.ones(1), 'n': 3}, dict(state_dict={'w': torch.ones(1)}), dict(model={
            'w': torch.ones(1)})):
        assert list(state_dict_of(content, 'a.pth')) == ['w']
    check_finite(dict(w=torch.ones(2), n=torch.tensor(3)), 'a.pth')
