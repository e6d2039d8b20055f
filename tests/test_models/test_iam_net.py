import pytest
import torch
from mmengine.structures import InstanceData
from nets import image, quarters, run_predict, sample

from mmiam.models.cues import CueCache, FoundCues
from mmiam.proposals import SegmentProposals


def check_contract(result, size):
    instances = result.pred_instances
    count = len(instances)
    assert instances.masks.shape == (count, *size) and instances.masks.dtype == torch.bool
    assert instances.bboxes.shape == (count, 4) and instances.labels.shape == instances.scores.shape == (count, )
    assert ((instances.scores >= 0) & (instances.scores <= 1)).all() and ((instances.labels >= 0)
                                                                         & (instances.labels < 3)).all()
    assert (instances.scores.diff() <= 0).all()
    for mask, (x1, y1, x2, y2) in zip(instances.masks, instances.bboxes.long().tolist()):
        ys, xs = mask.nonzero().T
        assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x1, y1, x2, y2)
    assert not {'maps', 'prms', 'cams', 'iams'} & set(instances.keys())
    assert result.pred_class_scores.shape == (3, ) and result.pred_class_scores.isfinite().all()


# ------------------------------------------------------------------------------------------------------- prediction
@pytest.mark.parametrize('height, width, original', [
    (64, 64, (24, 32)), (64, 96, (50, 70)), (45, 70, (45, 70)), (33, 34, (1, 1)), (1, 1, (1, 1)), (3, 66, (2, 40))])
def test_prediction_contract(build, height, width, original):
    """Non-square, sides that are no multiple of 4, an image of one pixel."""
    model = build()
    model.filler.decoder.layers[-1].bias.data.fill_(2.)  # masks that are not empty
    result, = run_predict(model, image(height, width), sample(height, width, original))
    check_contract(result, original)
    assert min(height, width) <= 32 or len(result.pred_instances)
    model.peak_head.class_thr = 1e9  # no peak
    result, = run_predict(model, image(height, width), sample(height, width, original))
    check_contract(result, original)
    assert len(result.pred_instances) == 0


def test_padded_batch_gives_each_image_its_own_size(build):
    model = build()
    results = run_predict(model, torch.cat([image(), image(seed=1)]), sample(ori_shape=(24, 32)),
                          sample(48, 40, ori_shape=(50, 41)))
    check_contract(results[0], (24, 32))
    check_contract(results[1], (50, 41))


def test_post_processors_get_the_picture_and_not_what_the_network_reads(build):
    """ConvCRF compares colors in units of 0 to 255."""
    model, seen = build(), []
    model.post_processor.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    bgr = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[bgr], data_samples=[sample()]))
    run_predict(model, data['inputs'], *data['data_samples'])
    assert data['inputs'].abs().max() < 5  # normalized
    torch.testing.assert_close(seen[0], bgr.flip(0).float(), atol=1e-3, rtol=0)


def test_image_labels_restrict_the_classes(build):
    model = build(test_cfg=dict(use_image_labels=True))
    result, = run_predict(model, image(), sample(image_labels=[2]))
    assert set(result.pred_instances.labels.tolist()) <= {2}
    with pytest.raises(KeyError, match='a.jpg has no image_labels'):
        run_predict(model, image(), sample())


def test_baselines_ride_along(build):
    model = build(test_cfg=dict(baselines=dict(cam=dict(type='ClassMapThreshold'))))
    result, = run_predict(model, image(), sample(ori_shape=(24, 32)))
    assert result.pred_instances_cam.masks.shape[1:] == (24, 32)


def test_refilling_fills_from_the_cue_and_what_was_found_and_keeps_the_surer_map(build, monkeypatch):
    model = build(test_cfg=dict(refill=0.4))
    feats = model.extract_feat(image())
    maps = torch.zeros(2, 64, 64)
    maps[0, 20, 20] = maps[1, 40, 30] = 1.
    cues = [InstanceData(maps=maps)]
    given, answers = [], iter([torch.full((2, 64, 64), 1.), torch.stack([torch.full((64, 64), v) for v in (2., .5)])])

    def filler(feats, maps, image_index):
        given.append(maps)
        return next(answers)

    monkeypatch.setattr(model.filler, 'forward', filler)
    with torch.no_grad():
        iams, = model.fill(feats, cues)
    assert torch.equal(given[0], maps)
    assert torch.allclose(given[1], torch.where(maps > 0, 1., 0.4))  # a flat map lies beneath the peak at 0.4 of it
    assert (iams[0] == 2).all() and (iams[1] == 1).all()


def test_refilling_is_for_prediction_alone(build):
    once, twice = build(), build(test_cfg=dict(refill=1.))
    feats, cues = once.extract_feat(image()), [InstanceData(maps=torch.rand(3, 64, 64))]
    assert torch.equal(once.train().fill(feats, cues)[0], twice.train().fill(feats, cues)[0])
    model = build(test_cfg=dict(refill=1.))
    assert len(model.fill(feats, [InstanceData(maps=torch.zeros(0, 64, 64))])[0]) == 0


def test_without_filler(build):
    with pytest.raises(ValueError, match='ConvCRFPostProc refines Instance Activation Maps'):
        build(filler=None)
    model = build(filler=None, sampler=None, post_processor=dict(type='ClassMapThreshold'))
    assert model.stage == 'classify'
    check_contract(run_predict(model, image(), sample(ori_shape=(24, 32)))[0], (24, 32))
    with pytest.raises(ValueError, match='needs a filler'):
        model.set_stage('fill')


class CenterCue(torch.nn.Module):
    """A cue that is no peak: a dot in the middle, class 1."""

    def forward(self, network, images, data_samples, image_labels=None):
        maps = images.new_zeros((1, *images.shape[-2:]))
        maps[0, images.shape[2] // 2, images.shape[3] // 2] = 1
        one = torch.ones(1)
        return FoundCues(*network.classify(images), [
            InstanceData(labels=torch.tensor([1]), class_scores=one, peak_scores=one, maps=maps, cams=maps,
                         peaks=torch.tensor([[0, 0]])) for _ in data_samples])


def test_a_cue_of_ones_own_is_trained_with_kept_and_predicts(build, tmp_path):
    """A cue of one's own has neither Peak Response Maps nor a place in pixels."""
    model = build(sampler=dict(type='ProposalPseudoGTSampler', overlap_thr=0.)).train()
    model.cue = CenterCue()
    model.cue_cache = CueCache(tmp_path, [model.backbone])
    found = [model.training_cues(image(), [sample(image_labels=[1], proposals=quarters())])[1][0] for _ in range(2)]
    assert model.cue_cache.hits == 1 and 'prms' not in found[1] and found[0].maps.equal(found[1].maps)
    assert [list(one) for one in found[0].candidates] == [list(one) for one in found[1].candidates] == [[3, 0, 1, 2]]
    model.filler.decoder.layers[-1].bias.data.fill_(9.)
    result, = run_predict(model.eval(), image(), sample())
    assert result.pred_instances.labels.tolist() == [1] and result.pred_class_scores.shape == (3, )


@pytest.mark.parametrize('options, message', [
    (dict(train_cfg=dict(max_instance=3)), "train_cfg has no 'max_instance'; its keys are max_instances, cue_batch"),
    (dict(test_cfg=dict(return_map=True)), "test_cfg has no 'return_map'; its keys are baselines, return_maps"),
    (dict(test_cfg=dict(refill=1.5)), r'test_cfg.refill is a height in \[0, 1\], got 1.5')])
def test_unknown_keys_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


# ----------------------------------------------------------------------------------------------------------- stages
def test_stage_classify_predicts_class_scores_alone(build):
    model = build()
    model.set_stage('classify')
    result, = run_predict(model, image(), sample())
    assert 'pred_instances' not in result and result.pred_class_scores.shape == (3, )
    with pytest.raises(ValueError, match='stage must be one of'):
        model.set_stage('fly')


def test_stages_train_what_they_should(build):
    model = build().train()
    model.set_stage('classify')
    assert model.loss(image(), [sample(image_labels=[])])['loss_cls'] > 0
    losses = model.loss(image(), [sample(image_labels=[0], proposals=quarters())])
    losses['loss_cls'].backward()
    assert model.peak_head.classifier.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.filler.parameters())
    model.zero_grad()
    model.set_stage('fill')
    model.train()
    assert model.filler.training and not model.backbone.training and not model.peak_head.training
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    losses = model.loss(image(), [sample(image_labels=[0], proposals=quarters())])
    losses['loss_fill'].backward()
    assert any(parameter.grad.abs().sum() > 0 for parameter in model.filler.parameters())
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())


def test_stage_classify_after_fill_trains_the_backbone_again(build):
    model = build().train()
    trainable = [parameter.requires_grad for parameter in model.backbone.parameters()]
    model.set_stage('fill')
    model.set_stage('classify')
    assert [parameter.requires_grad for parameter in model.backbone.parameters()] == trainable


# --------------------------------------------------------------------------------------------------------- training
@pytest.mark.parametrize('labels, proposals', [
    ([], quarters()), ([0], SegmentProposals.empty((64, 64)))], ids=['no label', 'no proposal'])
def test_nothing_to_fill_is_a_loss_of_zero(build, labels, proposals):
    model = build().train()
    model.set_stage('fill')
    losses = model.loss(image(), [sample(image_labels=labels, proposals=proposals)])
    assert losses['loss_fill'] == 0
    losses['loss_fill'].backward()
    assert all(parameter.grad is not None for parameter in model.filler.parameters())


def test_synchronized_norms_are_called_without_instances_too(build, monkeypatch):
    """Forward and backward of each wait for all processes: one that has no instance must not leave them waiting."""
    calls = []

    def norm(layer, maps):
        calls.append((len(maps), layer.num_features))
        maps.register_hook(lambda grad: calls.append('back'))
        return maps * layer.weight.view(1, -1, 1, 1)

    monkeypatch.setattr(torch.nn.SyncBatchNorm, 'forward', norm)
    steps = []
    for labels in ([0, 1, 2], []):
        model = build()
        model.filler = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model.filler)
        model.train()
        model.loss(image(), [sample(image_labels=labels, proposals=quarters())])['loss_fill'].backward()
        steps.append([call if call == 'back' else call[1:] for call in calls])
        instances = [call[0] for call in calls if call != 'back']
        assert all(instances) if labels else not any(instances)
        calls.clear()
    assert steps[0] == steps[1] and steps[0].count('back') == 4


def test_all_candidates_dropped(build):
    model = build(sampler=dict(type='ProposalPseudoGTSampler', overlap_thr=2.)).train()
    losses = model.loss(image(), [sample(image_labels=[0], proposals=quarters())])
    assert losses['loss_fill'] == 0 and losses['peaks_dropped_per_image'] == losses['peaks_per_image'] > 0


def test_max_instances_bounds_what_is_filled(build, monkeypatch):
    model = build(train_cfg=dict(max_instances=2)).train()
    filled = []
    monkeypatch.setattr(model.filler, 'loss', lambda logits, masks: filled.append(len(logits)) or {})
    model.loss(image(), [sample(image_labels=[0, 1, 2], proposals=quarters())])
    assert filled == [2]


def test_while_self_selecting_a_fraction_of_the_instances_is_trained_on(build, monkeypatch):
    model = build().train()
    model.sampler.self_selecting, model.sampler.trusted_fraction = True, 0.5
    taught = []
    monkeypatch.setattr(model.filler, 'loss', lambda logits, masks: taught.append((logits, masks)) or {})
    images = torch.cat([image(), image().flip(3)])
    report = model.loss(images, [sample(image_labels=[1], proposals=quarters()) for _ in range(2)])
    (logits, masks), = taught
    total = int(2 * (report['peaks_per_image'] - report['peaks_dropped_per_image']))
    assert total > 1 and len(logits) == len(masks) == -(-total // 2) and 0 < report['agreement'] < 1
    # each mask is the one of the four quarters that the map agrees with best
    for one, mask in zip(logits.detach().sigmoid(), masks):
        values = [2 * (one * q).sum() / ((one**2).sum() + q.sum()) for q in torch.as_tensor(quarters().masks())]
        assert max(values) == pytest.approx(float(2 * (one * mask).sum() / ((one**2).sum() + mask.sum())))


def test_prompts_take_the_place_of_cues_in_training(build, monkeypatch):
    """All of them: the map that is filled is that of a click or a box on a mask, and that mask is the target."""
    model = build(train_cfg=dict(prompt_ratio=1.)).train()
    filled, taught = [], []
    model.filler.register_forward_pre_hook(lambda module, inputs: filled.append(inputs[1]))
    monkeypatch.setattr(model.filler, 'loss', lambda logits, masks: taught.append(masks) or {})
    for _ in range(4):
        model.loss(image(), [sample(image_labels=[0, 1], proposals=quarters())])
    filled, taught = torch.cat(filled), torch.cat(taught)
    assert len(filled) == len(taught) > 4 and (filled.amax((1, 2)) == 1).all()
    assert all(mask[one == 1].all() for one, mask in zip(filled, taught))


@pytest.mark.parametrize('ratio', [0., .5])
def test_the_ratio_of_prompts(build, ratio):
    """Peak Response Maps sum to one, maps of prompts have maximum one; ``prms`` stay what they were."""
    model = build(train_cfg=dict(prompt_ratio=ratio)).train()
    model.sampler.self_selecting = True
    filled = []
    model.filler.register_forward_pre_hook(lambda module, inputs: filled.append(inputs[1]))
    torch.manual_seed(0)
    for _ in range(8):
        model.loss(image(), [sample(image_labels=[0, 1, 2], proposals=quarters())])['loss_fill'].backward()
    prompts = (torch.cat(filled).amax((1, 2)) == 1).float()
    assert len(prompts) >= 24 and abs(prompts.mean() - ratio) < .25
    feats, cues = model.training_cues(image(), [sample(image_labels=[0], proposals=quarters())])
    before = cues[0].prms.clone()
    model.train_cfg['prompt_ratio'] = 1.
    model.replace_by_prompts(cues, [sample(proposals=quarters())])
    assert cues[0].prms.equal(before) and not cues[0].maps.equal(before)


def test_training_without_proposals_says_what_to_do(build):
    with pytest.raises(KeyError, match='a.jpg has no segment proposals: add .*LoadSegmentProposals'):
        build().train().loss(image(), [sample(image_labels=[0])])
    with pytest.raises(ValueError, match='AlignSegmentProposals'):
        build().train().loss(image(), [sample(image_labels=[0], proposals=quarters(32, 32))])
