"""Checkpoints are whole, and of the model and the classes that they are read for."""
import random
import tracemalloc

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


def test_no_bit_flips_into_another_value(tmp_path):
    """torch alone loads most of such files, with other weights."""
    path = tmp_path / 'a.pth'
    state = dict(w=torch.arange(400.), b=torch.ones(30))
    save_checkpoint(dict(state_dict=state), path)
    data, rng, read = path.read_bytes(), random.Random(0), 0
    for _ in range(200):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            found = read_checkpoint(str(path))['state_dict']
        except (ValueError, KeyError) as error:
            assert 'a.pth' in str(error)
        else:  # in padding, or in what zip does not use
            read += 1
            assert all(torch.equal(found[key], value) for key, value in state.items())
    assert read < 150
    flipped = bytearray(data)
    flipped[data.index(torch.arange(400.).numpy().tobytes()) + 200] ^= 1
    path.write_bytes(flipped)
    assert torch.load(path, weights_only=True)['state_dict']['w'].shape == (400, )
    with pytest.raises(ValueError, match='a.pth .*another CRC-32'):
        read_checkpoint(str(path))


def test_nothing_stands_before_an_archive(tmp_path):
    """torch reads it by its older layout, without check sums; here it states a text of a gigabyte."""
    save_checkpoint(dict(state_dict=model().state_dict()), path := tmp_path / 'a.pth')
    path.write_bytes(b'X\xf6\xb2\xdc<\x1b' + path.read_bytes())
    tracemalloc.start()
    with pytest.raises(ValueError, match='a.pth .*does not begin with its first member'):
        read_checkpoint(str(path))
    path.write_bytes(path.read_bytes()[:-30])  # no archive any more
    with pytest.raises(ValueError, match='a.pth .*begins like neither layout'):
        read_checkpoint(str(path))
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_no_member_is_a_folder(tmp_path):
    """Of a tensor's bytes that are marked as a folder, torch reads none and gives what memory happens to hold."""
    save_checkpoint(dict(state_dict=dict(w=torch.arange(400.))), path := tmp_path / 'a.pth')
    data = bytearray(path.read_bytes())
    entry = data.index(b'PK\1\2', data.index(b'/data/0') + 8)  # of the directory, from its second entry on
    while b'/data/0' not in data[entry:entry + 70]:
        entry = data.index(b'PK\1\2', entry + 4)
    data[entry + 38] |= 0x10
    path.write_bytes(data)
    with pytest.raises(ValueError, match='a.pth .*data/0 in it is a folder'):
        read_checkpoint(str(path))


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
    state = model(3).state_dict()
    before = {key: value.clone() for key, value in state.items()}
    assert not match_classes(state, ('a', 'b', 'c'), ['a', 'b', 'c'], 'a.pth')
    assert not match_classes(state, None, ['a', 'b', 'c'], 'a.pth')
    assert match_classes(state, ('a', 'b', 'c'), ['c', 'a', 'b'], 'a.pth')
    for part in ('weight', 'bias'):
        name = f'peak_head.classifier.{part}'
        for new, old in enumerate((2, 0, 1)):
            assert torch.equal(state[name][new], before[name][old])
    assert all(torch.equal(state[key], before[key]) for key in without(state, 'peak_head'))
    with pytest.raises(ValueError, match='knows the classes a, b, c, the data set a, b, d; c, d are in one alone'):
        match_classes(state, ('a', 'b', 'c'), ['a', 'b', 'd'], 'a.pth')
    with pytest.raises(ValueError, match='in their order'):
        match_classes({'roi_head.weight': torch.ones(3)}, ('a', 'b', 'c'), ['b', 'a', 'c'], 'a.pth')


@pytest.mark.parametrize('names', [('a', 'b'), ('a', 'b', 'c', 'd'), ('a', 'a', 'b')])
def test_a_name_for_each_output(names):
    check_class_count(model(3).state_dict(), ('a', 'b', 'c'), 'a.pth')
    with pytest.raises(ValueError, match='a.pth names . classes .a, .* and has a head of 3'):
        check_class_count(model(3).state_dict(), names, 'a.pth')


def test_a_filling_module_trained_beside_another_backbone():
    """EfficientNet-Lite0 and 1 have the same shapes on the way to the filling module."""
    net, content = model(), dict(meta=dict(packages=dict(backbone='pip://lite0')))
    net.backbone.init_cfg = dict(checkpoint='pip://lite0')
    for same in (content, {}, dict(meta=None), dict(meta=dict(packages=3))):
        check_packages(net, same, 'a.pth')
    net.backbone.init_cfg = dict(checkpoint='pip://lite1')
    with pytest.raises(ValueError, match='a.pth was trained beside the weights pip://lite0 of its backbone.*lite1'):
        check_packages(net, content, 'a.pth')


def test_names_of_classes():
    assert classes_of(dict(meta=dict(dataset_meta=dict(classes=['a', 'b'])))) == ('a', 'b')
    assert classes_of(dict(meta=dict(CLASSES=('a', )))) == ('a', )
    for content in ({}, dict(meta=None), dict(meta=[1]), dict(meta=dict(dataset_meta=dict(classes=3)))):
        assert classes_of(content) is None


def test_state_dicts():
    assert list(state_dict_of({'module.w': torch.ones(1), 'n': 3}, 'a.pth')) == ['w']
    with pytest.raises(ValueError, match='a.pth holds no weights'):
        state_dict_of(dict(state_dict={}), 'a.pth')
    for odd in (torch.ones(2, 2).to_sparse(), torch.ones(2, device='meta')):  # mmengine leaves the weight random
        with pytest.raises(ValueError, match='a.pth: w is a sparse tensor, or one without values'):
            state_dict_of(dict(w=odd), 'a.pth')
    check_finite(dict(w=torch.ones(2), n=torch.tensor(3)), 'a.pth')
