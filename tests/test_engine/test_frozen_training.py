"""Training on stored features: the store, each step, and a killed run that goes on."""
from pathlib import Path

import numpy as np
import pytest
import torch

from mmiam.engine.frozen_training import Recipe, build_plain_dataset, train_frozen
from mmiam.engine.frozen_training import filler as filling_step
from mmiam.engine.frozen_training import head as head_step
from mmiam.engine.frozen_training.features import FeatureStore, _make_store, load_model, store_features
from mmiam.engine.frozen_training.filler import train_filler
from mmiam.engine.frozen_training.head import class_scores, cross_validate, start_head, train_head
from mmiam.engine.frozen_training.mining import Instances, _mined_file, mine_views, read_mined
from mmiam.engine.frozen_training.recipe import weigh_images
from mmiam.engine.frozen_training.run import own_weights, packages
from mmiam.engine.safe_loading import read_checkpoint
from mmiam.models.cues import PeakGaussianCue
from mmiam.proposals.io import load_proposals
from mmiam.utils.files import CannotWrite, write_arrays


@pytest.fixture
def config(tiny_config):
    """The tiny config with a filling module on a quarter of the side and one stack."""
    cfg = tiny_config()
    cfg.merge_from_dict(dict(model=dict(
        filler=dict(stride=8, num_stacks=1, num_steps=2), sampler=dict(trusted_fraction=0.5),
        train_cfg=dict(max_instances=3, prompt_ratio=0.5))))
    return cfg


def recipe(**settings):
    return Recipe(**{**dict(head_steps=12, fill_steps=6, class_share=1.), **settings})


def states_equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a) and a.keys() == b.keys()


def test_stored_features_are_those_of_the_backbone(config, tmp_path):
    torch.manual_seed(0)
    model, dataset = load_model(config), build_plain_dataset(config, proposals=False)
    store, failed = store_features(model, dataset, str(tmp_path))
    assert not failed and store.done.all() and len(store.done) == len(dataset) == 3
    batch = model.data_preprocessor(dict(inputs=[dataset[1]['inputs']], data_samples=[dataset[1]['data_samples']]))
    with torch.no_grad():
        mirrored = model.extract_feat(batch['inputs'].flip(-1))
    assert torch.allclose(store.read([1], [1], 3), mirrored[3], atol=2e-3)
    assert not torch.allclose(store.read([1], [0], 3), mirrored[3], atol=2e-3)
    # 64 / 4 / 2: what the filling module averages the finest level to
    assert torch.allclose(store.read([1], [1], 0), torch.nn.functional.adaptive_avg_pool2d(mirrored[0], 8), atol=2e-3)
    stamp = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob('[0-9].npy')}
    model.extract_feat = None  # everything is there
    again, _ = store_features(model, dataset, str(tmp_path))
    assert again.folder == store.folder and {p.name: p.stat().st_mtime_ns for p in tmp_path.rglob('[0-9].npy')} == stamp


def test_other_weights_and_other_images_have_a_store_of_their_own(config, tmp_path):
    torch.manual_seed(0)
    model, dataset = load_model(config), build_plain_dataset(config, proposals=False)
    first = store_features(model, dataset, str(tmp_path))[0].folder
    next(model.backbone.parameters()).data += 1
    second = store_features(model, dataset, str(tmp_path))[0].folder
    path = dataset.get_data_info(0)['img_path']
    with open(path, 'ab') as file:
        file.write(b'\0')
    assert len({first, second, store_features(model, dataset, str(tmp_path))[0].folder}) == 3


def test_the_same_weights_in_another_network_have_features_of_their_own(config, tmp_path):
    for strides in ([1, 2, 2, 2], [1, 2, 2, 1]):
        config.model.backbone.strides = strides
        train_frozen(config, str(tmp_path), recipe())
    stores = [FeatureStore(str(path)).levels[3].shape for path in tmp_path.glob('features/*')]
    assert len(set(stores)) == len(stores) == len(list(tmp_path.glob('mined-*'))) == 2


def test_a_data_set_in_another_gives_each_image_once(config):
    one = config.train_dataloader.dataset
    config.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=one)
    assert len(build_plain_dataset(config)) == 3
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[one, one])
    with pytest.raises(ValueError, match='made of 2 data sets'):
        build_plain_dataset(config)


def test_an_image_that_cannot_be_read_is_named_and_left_out(config, tmp_path):
    torch.manual_seed(0)
    dataset = build_plain_dataset(config, proposals=False)
    path = dataset.get_data_info(1)['img_path']
    with open(path, 'wb') as file:
        file.write(b'no image')
    outcome = train_frozen(config, str(tmp_path / 'run'), recipe())
    assert list(outcome.failed) == [path] and outcome.checkpoint is not None


def test_images_of_different_sizes_are_refused(config, tmp_path):
    dataset = build_plain_dataset(config, proposals=False)
    sizes = iter([(64, 64), (96, 64), (64, 64)])
    dataset.pipeline.transforms[1].transform = lambda results: dict(
        results, img=np.zeros((*next(sizes), 3), np.uint8), img_shape=(64, 64))
    with pytest.raises(ValueError, match='keep_ratio=False'):
        store_features(load_model(config), dataset, str(tmp_path))


def store_of(features, folder):
    """A store of one level: (N, channels, h, w), mirrored for the second view."""
    features = np.asarray(features, np.float16)
    _make_store(str(folder), {3: (len(features), 2, *features.shape[1:])})
    store = FeatureStore(str(folder))
    store.levels[3][:, 0], store.levels[3][:, 1], store.done[:] = features, features[..., ::-1], True
    return store


def test_a_head_starts_from_the_imagenet_classes_of_its_images(config, tmp_path):
    """Channel 0 is the object of label 0, channel 2 its background, of which the classifier knows nothing; channel 3 is
    something that the classifier knows and every image shows."""
    features = np.zeros((6, 64, 2, 2))
    features[:3, 0, 0, 0], features[:3, 2, 1], features[3:, 1, 0, 0] = 9, 9, 9
    features[:, 3, 1, 1] = 9
    store, labels = store_of(features, tmp_path / 'store'), [[0]] * 3 + [[1]] * 2 + [[2]]
    weight = torch.zeros(4, 64)
    weight[0, 0], weight[1, 1], weight[2, 3] = 4, 4, 4
    head = load_model(config).peak_head
    start_head(head, store, labels, range(5), (weight, torch.zeros(4)))
    with torch.no_grad():
        response = head.classifier(store.read([0, 3], [0, 0], 3))
    assert response[0, 0].argmax() == 0 and response[1, 1].argmax() == 0  # the object's cell
    assert (response[:, 0, 1].abs() < 1e-3).all()  # no evidence in the background, nor in what all have
    assert response[0, 0, 0, 0] > 1 > -1 > response[0, 1, 0, 0]
    assert head.classifier.bias.abs().max() == 0
    other = load_model(config).peak_head
    train_head(other, store, labels, recipe(head_steps=1, head_lr=0), 0, range(5), (weight, torch.zeros(4)))
    assert states_equal(other.state_dict(), head.state_dict())


def test_held_back_images_do_not_teach_their_judge(config, tmp_path):
    """Labels that are noise: a head that saw the images would rank them well, one that did not cannot."""
    rng = np.random.default_rng(0)
    labels = [[int(label)] for label in rng.integers(0, 3, 36)]
    store = store_of(rng.random((36, 64, 2, 2)), tmp_path / 'store')
    head = load_model(config).peak_head
    settings = recipe(head_steps=150, head_lr=3e-2)
    images, scores = cross_validate(head, store, labels, settings)
    truth = np.array(labels)[:, 0]
    assert images.tolist() == list(range(36)) and (scores.argmax(1) == truth).mean() < 0.6
    train_head(head, store, labels, settings)
    assert (class_scores(head, store, images).argmax(1) == truth).mean() > 0.8


def test_rare_classes_are_drawn_more_often():
    odds = weigh_images([[0]] * 9 + [[1]], 1.)
    assert odds.sum() == pytest.approx(1) and odds[-1] == pytest.approx(0.5)
    assert weigh_images([[0]] * 9 + [[1]], 0.) == pytest.approx([0.1] * 10)


def test_mined_instances_are_on_the_grid_and_of_the_images_labels(config, tmp_path):
    torch.manual_seed(0)
    model, dataset = load_model(config), build_plain_dataset(config)
    folder, failed = mine_views(model, dataset, str(tmp_path), range(3))
    mined = read_mined(folder, 3, 3, recipe(), model.cue)
    assert not failed and mined
    for i, one in mined.items():
        assert set(one.labels.tolist()) <= set(dataset.get_data_info(i)['image_labels'])
        assert one.maps.shape == (len(one.labels), 16, 16) and len(one.masks) == len(one.labels)
        assert all(masks.shape[1:] == (16, 16) and len(masks) for masks in one.masks)
        batch = model.data_preprocessor(dict(inputs=[dataset[i]['inputs']], data_samples=[dataset[i]['data_samples']]))
        sample, = batch['data_samples']
        cue, = model.training_cues(batch['inputs'], [sample])[1]
        first = next(place for place, options in enumerate(cue.candidates) if len(options))
        mask = sample.segment_proposals.masks(cue.candidates[first][:1])
        assert one.masks[0][0].mean() / 255 == pytest.approx(mask.mean(), abs=0.01)
        prm = torch.nn.functional.avg_pool2d(cue.prms[first][None], 4)[0]
        assert np.allclose(one.maps[0], prm / prm.max(), atol=1e-3)
        # another cue draws its maps on the same pseudo masks, around the same peaks
        redrawn = read_mined(folder, 3, 3, recipe(), PeakGaussianCue(sigma=0.1))[i]
        assert all((a == b).all() for a, b in zip(redrawn.masks, one.masks))
        y, x = np.unravel_index(redrawn.maps[0].argmax(), (16, 16))
        assert torch.allclose(torch.tensor([y, x]) * 4 + 1.5, cue.places[first], atol=2.)
    model.training_cues = None  # everything is there
    assert mine_views(model, dataset, str(tmp_path), range(3))[0] == folder


def test_every_class_has_its_better_half_and_what_is_sure(tmp_path):
    """Class 0 scores high throughout, class 1 low: one threshold for both would leave class 1 nothing."""
    for i, (label, scores) in enumerate([(0, [2., 1.5]), (0, [1.8]), (0, [.9]), (1, [.7, .5]), (1, [.4])]):
        write_arrays(_mined_file(str(tmp_path), i), dict(
            labels=np.array([label]), scores=np.array(scores, np.float32), counts=np.array([len(scores)]),
            maps=np.zeros((1, 2, 2), np.float16), masks=np.arange(len(scores) * 4, dtype=np.uint8).reshape(-1, 2, 2)))
    write_arrays(_mined_file(str(tmp_path), 5), dict(
        labels=np.zeros(0, int), scores=np.zeros(0, np.float32), counts=np.zeros(0, int),
        maps=np.zeros((0, 2, 2), np.float16), masks=np.zeros((0, 2, 2), np.uint8)))
    mined = read_mined(str(tmp_path), 6, 2, recipe(class_share=0.5, sure_score=1.6), None)
    # class 0: the median of 2, 1.8, .9 lies above what is sure; class 1: the median of .7 and .4 is .55
    assert {i: len(one.masks[0]) for i, one in mined.items()} == {0: 1, 1: 1, 3: 1}
    assert mined[0].masks[0].tolist() == [[[0, 1], [2, 3]]]


def test_filling_module_learns_the_masks(config, tmp_path):
    """A square around each cue, in one of three places, and its mirror image in the other view."""
    torch.manual_seed(0)
    config.model.train_cfg.prompt_ratio, config.model.sampler.trusted_fraction = 0., 1.
    model = load_model(config)
    store, _ = store_features(model, build_plain_dataset(config, proposals=False), str(tmp_path))
    mined = {}
    for i, left in enumerate((1, 4, 6)):
        mined[i] = Instances(np.zeros(1, int), np.zeros((1, 16, 16), np.float16), [np.zeros((1, 16, 16), np.uint8)])
        mined[i].masks[0][0, 4:12, left:left + 8] = 255
        mined[i].maps[0, 7:9, left + 3:left + 5] = 1
    train_filler(model, store, mined, recipe(fill_steps=150, fill_lr=3e-2))
    assert model.filler.pooling == 4
    model.filler.pooling = 1
    for view in (0, 1):
        feats = {level: store.read(range(3), [view] * 3, level) for level in model.filler.in_indices}
        maps = torch.from_numpy(np.concatenate([one.maps for one in mined.values()])).float()
        truth = torch.from_numpy(np.concatenate([one.masks[0] for one in mined.values()])) > 0
        maps, truth = (maps.flip(-1), truth.flip(-1)) if view else (maps, truth)
        with torch.no_grad():
            found = model.filler(feats, maps, torch.arange(3)) > 0
        assert (found & truth).sum() / (found | truth).sum() > 0.7


@pytest.mark.parametrize('selecting', [False, True])
def test_a_prompt_is_taught_the_mask_that_it_was_drawn_on(config, tmp_path, monkeypatch, selecting):
    """Two candidates that share no pixel: a click on the first must never be answered by the second."""
    torch.manual_seed(0)
    config.model.train_cfg.prompt_ratio, config.model.sampler.trusted_fraction = 1., 1.
    model = load_model(config)
    store, _ = store_features(model, build_plain_dataset(config, proposals=False), str(tmp_path))
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, :, :6], masks[1, :, 8:] = 255, 255  # the larger one agrees better with an untrained map
    mined = {i: Instances(np.zeros(1, int), np.zeros((1, 16, 16), np.float16), [masks]) for i in range(3)}
    clicked, taught, fill = [], [], model.filler.forward
    monkeypatch.setattr(model.filler, 'forward', lambda feats, maps, index: clicked.append(maps) or fill(
        feats, maps, index))
    monkeypatch.setattr(model.filler, 'loss', lambda logits, targets: taught.append(targets) or dict(loss=logits.sum()))
    model.filler.pooling = 1
    for step in range(8):
        filling_step._compute_loss(model, store, mined, [0, 1, 2], np.full(3, 1 / 3), (0, step), selecting)
    for maps, targets in zip(clicked, taught):
        assert (maps * targets).amax((1, 2)).allclose(torch.ones(3), atol=.05)
        assert (targets.mean((1, 2)) == 6 / 16).all()


def test_killed_runs_go_on_where_they_were(config, tmp_path, monkeypatch):
    """The state after step 2 of 4, gone on from in another process, gives the weights of a run in one piece."""
    monkeypatch.setattr(filling_step, '_SAVE_EVERY', 2)
    whole = train_frozen(config, str(tmp_path / 'whole'), recipe(fill_steps=4), seed=3)
    loss, calls = filling_step._compute_loss, []

    def dies(*args):
        calls.append(args)
        if len(calls) == 4:
            raise RuntimeError
        return loss(*args)

    monkeypatch.setattr(filling_step, '_compute_loss', dies)
    with pytest.raises(RuntimeError):
        train_frozen(config, str(tmp_path / 'killed'), recipe(fill_steps=4), seed=3)
    calls.clear()
    resumed = train_frozen(config, str(tmp_path / 'killed'), recipe(fill_steps=4), seed=3)
    assert len(calls) == 2
    a, b = (read_checkpoint(outcome.checkpoint) for outcome in (whole, resumed))
    assert states_equal(a['state_dict'], b['state_dict']) and a['meta'] == b['meta']
    assert a['meta']['dataset_meta']['classes'] == ['cat', 'dog', 'person']
    monkeypatch.setattr(filling_step, '_compute_loss', loss)
    other = train_frozen(config, str(tmp_path / 'whole'), recipe(fill_steps=4), seed=4)
    assert not states_equal(a['state_dict'], read_checkpoint(other.checkpoint)['state_dict'])


def test_shards_leave_nothing_but_the_filling_module(config, tmp_path):
    run = str(tmp_path / 'run')
    for shard in ('0/2', '1/2'):  # features
        assert train_frozen(config, run, recipe(), shard=shard).checkpoint is None
    assert not (tmp_path / 'run/head.pth').exists()
    whole = train_frozen(config, str(tmp_path / 'whole'), recipe())
    outcome = train_frozen(config, run, recipe(), judge=True)
    assert states_equal(*(read_checkpoint(one.checkpoint)['state_dict'] for one in (whole, outcome)))
    assert outcome.pseudo_masks.sum() and outcome.filler_trained and outcome.ap.ap.shape == (3, )


def test_too_few_pseudo_masks_leave_the_filling_module_alone(config, tmp_path):
    first = train_frozen(config, str(tmp_path / 'a'), recipe())
    given = read_checkpoint(first.checkpoint)['state_dict']
    second = train_frozen(config, str(tmp_path / 'b'), recipe(), weights=first.checkpoint, least_masks=1000)
    found = read_checkpoint(second.checkpoint)['state_dict']
    assert not second.filler_trained
    assert all(torch.equal(given[name], found[name]) for name in given if name.startswith('filler.'))


def test_weights_at_an_address_stay_out_of_the_checkpoint(config):
    model = load_model(config)
    assert any(name.startswith('backbone.') for name in own_weights(model))
    model.backbone.init_cfg = dict(type='Pretrained', checkpoint='pip://package')
    assert {name.split('.')[0] for name in own_weights(model)} == {'peak_head', 'filler'}
    assert packages(model) == dict(backbone='pip://package')


def test_no_room_for_features(tmp_path, monkeypatch):
    """Said at once: where a mapped file finds none, the system ends the process."""
    def full(*_):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr('os.posix_fallocate', full)
    with pytest.raises(CannotWrite, match='features-0 cannot be written .No space left on device.: make room'):
        _make_store(str(tmp_path / 'features-0'), {0: (3, 2, 4, 5, 5)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('part, found', [('head', r'head, step \d+: the loss is (nan|inf)'),
                                         ('fill', r'filling module, step \d: the loss is (nan|inf)')])
def test_a_training_that_diverges_ends_with_a_sentence(config, tmp_path, part, found):
    with pytest.raises(FloatingPointError, match=found + '.*Lower head_lr or fill_lr'):
        train_frozen(config, str(tmp_path), recipe(**{f'{part}_lr': 1e20}))
    assert not (tmp_path / 'model.pth').exists() and (tmp_path / 'head.pth').exists() is (part == 'fill')


def test_weights_that_the_last_step_broke_are_not_written(config, tmp_path, monkeypatch):
    def breaks(optimizer, loss, where):
        optimizer.param_groups[0]['params'][0].data[0] = float('inf')
        return loss.item()
    monkeypatch.setattr(head_step, 'optimize', breaks)
    with pytest.raises(ValueError, match='head.pth, which is not written: .* infinite or no numbers'):
        train_frozen(config, str(tmp_path), recipe())
    assert not (tmp_path / 'head.pth').exists()


def test_other_proposals_and_other_pseudo_masks_are_not_taken_for_those_before(config, tmp_path):
    def mined():
        return {path.name for path in tmp_path.glob('run/mined-*')}

    def weights(**settings):
        return read_checkpoint(train_frozen(config, str(tmp_path / 'run'), recipe(), **settings).checkpoint)

    weights()
    (first, ) = mined()
    step = next(step for step in config.train_dataloader.dataset.pipeline if step['type'] == 'LoadSegmentProposals')
    path = Path(step['proposal_root'], 't0.npz')
    proposals = load_proposals(path)
    proposals.select(range(len(proposals) // 2, len(proposals))).save(path)
    found = weights()['state_dict']
    assert len(mined()) == 2
    other = weights(mined_in=str(tmp_path / 'run' / first))['state_dict']
    assert not states_equal(found, other)
