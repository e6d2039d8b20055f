import json

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from mmiam.engine.table1_checkpoints import as_json, checkpoint_note, checkpoint_problem, parse_checkpoints

FILLER = dict(type='InstanceExtentFiller', in_channels=(8, 16, 32), in_indices=(0, 1, 2), channels=2)


@pytest.fixture
def model():
    """Config of a tiny IAMNet."""
    init_default_scope('mmdet')
    return ConfigDict(
        type='IAMNet', backbone=dict(type='ResNet', depth=18, base_channels=8),
        peak_head=dict(type='PeakStimulationHead', num_classes=2, in_channels=64), filler=FILLER,
        post_processor=dict(type='ConvCRFPostProc'))


@pytest.fixture
def save(tmp_path):
    """``save(model, batches=1, **meta)`` -> checkpoint of a random model whose filler has seen so many batches."""
    def call(model, batches=1, name='a.pth', **meta):
        from mmdet.registry import MODELS
        state = MODELS.build(model).state_dict()
        for key in state:
            if key.endswith('num_batches_tracked'):
                state[key].fill_(batches)
        torch.save(dict(state_dict=state, meta=meta), tmp_path / name)
        return str(tmp_path / name)
    return call


def test_paths_of_a_name_are_its_seeds():
    assert parse_checkpoints(['a=x.pth', 'b=u.pth', 'a=y.pth'], []) == {
        'a': {'0': 'x.pth', '1': 'y.pth'}, 'b': {'0': 'u.pth'}}
    assert parse_checkpoints(['a=x.pth', 'a=y.pth'], ['7', '9']) == {'a': {'7': 'x.pth', '9': 'y.pth'}}
    assert parse_checkpoints(['a=run_{seed}/x_{seed}.pth'], ['1', '2']) == {
        'a': {'1': 'run_1/x_1.pth', '2': 'run_2/x_2.pth'}}


def test_paths_from_a_file_are_relative_to_it(tmp_path):
    path = tmp_path / 'checkpoints.json'
    path.write_text(json.dumps(dict(a={'5': 'x.pth'}, b=['u.pth', '/v.pth'], c='{seed}.pth')))
    assert parse_checkpoints([str(path)], ['1', '2']) == {
        'a': {'5': f'{tmp_path}/x.pth'}, 'b': {'1': f'{tmp_path}/u.pth', '2': '/v.pth'},
        'c': {'1': f'{tmp_path}/1.pth', '2': f'{tmp_path}/2.pth'}}


@pytest.mark.parametrize('arguments, seeds, message', [
    (['a={seed}.pth'], [], '--seeds'), (['a=x', 'a=y'], ['1'], 'more checkpoints than seeds'),
    (['a=x{seed}', 'a=y{seed}'], ['1'], 'two checkpoints'), (['nowhere.json'], [], 'does not exist')])
def test_bad_arguments(arguments, seeds, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        parse_checkpoints(arguments, seeds)


@pytest.mark.parametrize('content, message', [('{', 'is not json'), ('[]', 'must hold'), ('{"a": 3}', 'must hold'),
                                              ('{"a": [3]}', 'must hold')])
def test_bad_files(tmp_path, content, message):
    path = tmp_path / 'checkpoints.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        parse_checkpoints([str(path)], [])


def test_a_fitting_checkpoint_has_no_problem(model, save):
    path = save(model)
    assert checkpoint_problem(path, model) is None
    assert checkpoint_problem(path, model | dict(filler=None)) is None  # its classifier serves too
    assert checkpoint_problem(path, model | dict(post_processor=None, sampler=dict(type='any'))) is None


def test_problems_are_told(model, save, tmp_path):
    untrained = save(model, batches=0, name='untrained.pth')
    assert 'was never trained' in checkpoint_problem(untrained, model)
    assert checkpoint_problem(untrained, model | dict(filler=None)) is None
    classifier = save(model | dict(filler=None, post_processor=None), name='classifier.pth')
    assert 'are not there' in checkpoint_problem(classifier, model)
    wider = model | dict(peak_head=dict(model.peak_head, num_classes=3))
    assert 'the first is peak_head.classifier' in checkpoint_problem(classifier, wider | dict(filler=None))
    assert 'does not exist' in checkpoint_problem(str(tmp_path / 'none.pth'), model)
    (tmp_path / 'broken.pth').write_bytes(b'PK')
    assert 'cannot be read' in checkpoint_problem(str(tmp_path / 'broken.pth'), model)


def test_a_classifier_without_soft_proposals_is_remarked(model, save):
    spn = model | dict(peak_head=dict(model.peak_head, type='SoftProposalHead'))
    plain, own = save(model, cfg='head PeakStimulationHead'), save(model, name='b.pth', cfg='head SoftProposalHead')
    assert 'without soft proposals' in checkpoint_note(plain, spn)
    assert checkpoint_note(own, spn) is None and checkpoint_note(plain, model) is None


def test_equal_configs_have_equal_text():
    assert as_json(ConfigDict(a=(1, 2), b=dict(c=None))) == as_json(dict(b=dict(c=None), a=[1, 2]))
