"""The cache of cues, as the filling stage of IAMNet uses it."""
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from nets import image, quarters, sample

from mmiam.models.cues import CueCache


@pytest.fixture
def cached(build, tmp_path):
    model = build().train()
    model.set_stage('fill')

    def make(settings='', max_gb=1.):
        model.cue_cache = CueCache(tmp_path / 'cache', [model.backbone, model.peak_head], settings, max_gb)
        return SimpleNamespace(model=model, cache=model.cue_cache)

    return make


def cues_of(model, **meta):
    return model.training_cues(image(), [sample(image_labels=[0, 1], proposals=quarters(), **meta)])[1][0]


def assert_same(first, second):
    for name in ('labels', 'peaks', 'places', 'peak_scores', 'class_scores'):
        assert torch.equal(first[name], second[name])
    assert [list(one) for one in first.candidates] == [list(one) for one in second.candidates]
    torch.testing.assert_close(first.prms, second.prms, rtol=2e-3, atol=1e-5)
    torch.testing.assert_close(first.maps, second.maps, rtol=2e-3, atol=1e-5)


def test_a_hit_equals_a_miss(cached):
    one, runs = cached(), []
    one.model.backbone.register_forward_hook(lambda *_: runs.append(1))
    first, second = cues_of(one.model), cues_of(one.model)
    assert len(first) and (one.cache.hits, one.cache.misses) == (1, 1)
    assert len(runs) == 2  # a miss, too, takes the features that the cues were found with
    assert_same(second, first)


def test_features_have_the_same_bits_whatever_the_cache_holds(cached):
    """The backbone sees all images at once, whether their cues were found in parts (of two), or some are known."""
    model, sizes = cached().model, []
    model.train_cfg['cue_batch'] = 2
    model.backbone.register_forward_hook(lambda _, inputs, outputs: sizes.append(len(inputs[0])))
    images = torch.cat([image(seed=seed) for seed in range(3)])
    samples = [sample(image_labels=[label], proposals=quarters()) for label in range(3)]
    expected, _ = model.training_cues(images, samples)
    assert sizes == [2, 1, 3]
    Path(model.cue_cache._path(samples[1])).unlink()
    for again in ([1, 3], [3]):  # one is new, then none
        sizes.clear()
        found, _ = model.training_cues(images, samples)
        assert sizes == again and all(map(torch.equal, found, expected))


def test_an_empty_hit_equals_an_empty_miss(cached):
    model = cached().model
    for _ in range(2):
        _, (cue, ) = model.training_cues(image(), [sample(image_labels=[], proposals=quarters())])
        assert len(cue) == 0 and list(cue.candidates) == []


def test_other_view_proposals_labels_weights_or_settings_are_a_miss(cached):
    one = cached()
    cues_of(one.model)
    cues_of(one.model, flip=True, flip_direction='horizontal')
    other = sample(image_labels=[0, 1], proposals=quarters().flip('horizontal').select([0, 1]))
    one.model.training_cues(image(), [other])
    _, (cue, ) = one.model.training_cues(image(), [sample(image_labels=[2], proposals=quarters())])
    assert (one.cache.hits, one.cache.misses) == (0, 4) and set(cue.labels.tolist()) == {2}
    assert cached('other settings').cache.folder != one.cache.folder
    one.model.peak_head.classifier.weight.data += 1
    two = cached()
    assert two.cache.folder != one.cache.folder
    cues_of(two.model)
    assert two.cache.hits == 0


def test_proposals_in_another_order_are_a_miss(cached):
    """Candidates are positions in it."""
    one = cached()
    first = cues_of(one.model)
    turned = quarters().select([3, 2, 1, 0])
    _, (second, ) = one.model.training_cues(image(), [sample(image_labels=[0, 1], proposals=turned)])
    assert (one.cache.hits, one.cache.misses) == (0, 2)
    for old, new in zip(first.candidates, second.candidates):
        assert set(old) == {3 - i for i in new}
    assert list(first.candidates[0]) != list(second.candidates[0])


def test_an_image_replaced_under_its_name_is_a_miss(cached, tmp_path):
    one, path = cached(), tmp_path / 'a.jpg'
    given = sample(image_labels=[0, 1], proposals=quarters())
    given.set_metainfo(dict(img_path=str(path)))
    for content, seconds, hits in ((b'one', 1, 0), (b'one', 1, 1), (b'other', 1, 1), (b'other', 1, 2),
                                   (b'OTHER', 2, 2)):
        path.write_bytes(content)
        os.utime(path, (seconds, seconds))
        one.model.training_cues(image(), [given])
        assert one.cache.hits == hits


@pytest.mark.parametrize('cue', [dict(type='PeakGaussianCue'), dict(type='ClassMapCue'),
                                 dict(type='ClassifierCue', response=dict(type='PeakGaussianCue'))])
def test_maps_of_every_cue_come_back(build, tmp_path, cue):
    model = build(cue=cue).train()
    model.set_stage('fill')
    model.cue_cache = CueCache(tmp_path / 'cache', [model.backbone, model.peak_head])
    first, second = cues_of(model), cues_of(model)
    assert len(first) and model.cue_cache.hits == 1
    torch.testing.assert_close(second.maps / second.maps.amax((1, 2), keepdim=True),
                               first.maps / first.maps.amax((1, 2), keepdim=True), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04broken', b'no zip'])
def test_a_broken_file_is_computed_again(cached, content):
    one = cached()
    first = cues_of(one.model)
    path, = Path(one.cache.folder).iterdir()
    path.write_bytes(content)
    assert_same(cues_of(one.model), first)
    assert one.cache.misses == 2
    cues_of(one.model)  # it was written anew
    assert one.cache.hits == 1


def test_a_full_cache_writes_nothing(cached):
    one = cached(max_gb=0)
    first = cues_of(one.model)
    assert not any(Path(one.cache.folder).iterdir())
    assert_same(cues_of(one.model), first)


def test_a_disk_without_space_is_told_once_and_training_goes_on(cached, logged, monkeypatch):
    def full(path, data):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mmiam.models.cues.cue_cache.atomic_write', full)
    one = cached()
    first = cues_of(one.model)
    assert_same(cues_of(one.model), first)
    one.model.training_cues(image(), [sample(image_labels=[], proposals=quarters())])  # no cue, and yet a file
    assert len(logged) == 1 and 'cannot be written (No space left on device); make room' in logged[0]


def test_processes_share_the_space(cached, tmp_path):
    one = cached()
    cues_of(one.model)
    used = sum(path.stat().st_size for path in Path(one.cache.folder).iterdir())
    three = CueCache(tmp_path / 'cache', [one.model.backbone, one.model.peak_head], '', 1., processes=3)
    assert three.folder == one.cache.folder and three.bytes_left == (2**30 - used) / 3
    other = CueCache(tmp_path / 'cache', [], 'other settings', 1.)  # what older ones hold counts
    assert other.folder != one.cache.folder and other.bytes_left == 2**30 - used
