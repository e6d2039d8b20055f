"""Cues from classifiers, alone and inside of IAMNet."""
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from nets import quarters

from mmiam.models.cues import PeakResponseCue

CLASS_MAPS = dict(type='ClassMapCue')
IMAGENET = dict(mean=(127.5, ) * 3, std=(127.5, ) * 3)


def classifier(head='SoftmaxHead', classes=6, **kwargs):
    options = dict(top_k=2) if head == 'SoftmaxHead' else dict(class_thr=-1e9, peak_thr=-1e9)
    return dict(type='FrozenClassifier', backbone=dict(type='ResNet', depth=18, base_channels=4, out_indices=(3, )),
                head=dict(type=head, num_classes=classes, in_channels=32, sub_pixel=2) | options | kwargs, **IMAGENET)


def build_cue(**kwargs):
    torch.manual_seed(0)
    cue = MODELS.build(dict(type='ClassifierCue', **kwargs))
    if cue.classifier is not None:
        randomize(cue.classifier.head.classifier)
    return cue


def randomize(classifier):
    """Weights of either sign and biases above zero, so that there are peaks, whatever was drawn before."""
    generator = torch.Generator().manual_seed(3)
    classifier.bias.copy_(torch.rand(classifier.bias.shape, generator=generator) + 1)
    classifier.weight.copy_(torch.randn(classifier.weight.shape, generator=generator) * .3)


def images(count=2, size=(64, 96)):
    return 255 * torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


def samples(count=2, size=(64, 96), **meta):
    return [DetDataSample(metainfo=dict(img_path=f'{i}.jpg', img_shape=size, ori_shape=size, batch_input_shape=size,
                                        img_id=i, **meta)) for i in range(count)]


class Around:
    """A network whose own classifier is not asked for cues."""

    def to_rgb(self, inputs):
        return inputs * 51

    def classify(self, inputs):
        return 'feats', 'scores'


def run(cue, count, image_labels=None):
    found = cue(Around(), images(count) / 51, samples(count), image_labels)
    assert found[:2] == ('feats', 'scores')
    return found.cues


def test_peak_responses_are_those_of_the_classifier_on_its_own_normalization():
    cue = build_cue(classifier=classifier())
    expected = PeakResponseCue()(cue.classifier, images() / 127.5 - 1)
    for one, other in zip(run(cue, 2), expected.cues):
        assert one.labels.tolist() == other.labels.tolist() and one.peaks.tolist() == other.peaks.tolist()
        torch.testing.assert_close(one.prms, other.prms)


def test_groups_rename_add_up_and_leave_out():
    plain, = run(build_cue(classifier=classifier(top_k=6)), 1)
    agnostic, = run(build_cue(classifier=classifier(top_k=6), groups='agnostic'), 1)
    assert set(agnostic.labels.tolist()) == {0} and len(agnostic) == len(plain)
    assert (agnostic.class_scores.sigmoid() > .999).all()
    grouped, = run(build_cue(classifier=classifier(top_k=6), groups={7: [0, 1], 3: [5]}), 1)
    assert set(grouped.labels.tolist()) == {7, 3}
    probability = {label: float(score.sigmoid()) for label, score in zip(plain.labels.tolist(), plain.class_scores)}
    seven = grouped.class_scores[grouped.labels == 7].sigmoid()
    torch.testing.assert_close(seven, torch.full_like(seven, probability[0] + probability[1]))
    others = grouped.class_scores[grouped.labels == 3].sigmoid()
    torch.testing.assert_close(others, torch.full_like(others, probability[5]))


def test_bad_options():
    with pytest.raises(KeyError, match='GradCAM'):
        build_cue(classifier=classifier(), response=dict(type='GradCAM'))
    with pytest.raises(ValueError, match='class 6 is none'):
        build_cue(classifier=classifier(), groups={0: [6]})


# ---------------------------------------------------------------------------------------------------- inside of IAMNet
@pytest.fixture
def network(build):
    def make(**overrides):
        model = build(**overrides)
        if getattr(model.cue, 'classifier', None) is not None:
            randomize(model.cue.classifier.head.classifier)
        model.filler.decoder.layers[-1].bias.data.fill_(2.)
        return model

    return make


def predict(model, *given):
    inputs = (images(1, (64, 64)) - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        return model.predict(inputs, list(given) or samples(1, (64, 64)))[0]


def test_a_network_without_peak_head(network, monkeypatch):
    """The classifier sees RGB in [0, 255], whatever the detector's preprocessor does."""
    model = network(peak_head=None, cue=dict(type='ClassifierCue', classifier=classifier(classes=4)))
    seen = []
    real = model.cue.classifier.normalize
    monkeypatch.setattr(model.cue.classifier, 'normalize', lambda rgb, given: seen.append(rgb) or real(rgb, given))
    result = predict(model)
    assert len(result.pred_instances) and 'pred_class_scores' not in result
    torch.testing.assert_close(seen[0], images(1, (64, 64)), rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match='stage "classify" needs a peak_head'):
        model.set_stage('classify')
    for wrong in (None, dict(type='PeakGaussianCue'), CLASS_MAPS, dict(type='ClassifierCue', response=CLASS_MAPS)):
        with pytest.raises(ValueError, match='without peak_head the model needs'):
            network(peak_head=None, cue=wrong)


def test_another_classifier_beside_the_own(network):
    model = network(cue=dict(type='ClassifierCue', classifier=classifier(classes=9), groups='agnostic'))
    result = predict(model)
    assert set(result.pred_instances.labels.tolist()) == {0} and result.pred_class_scores.shape == (3, )


@pytest.mark.parametrize('response', [CLASS_MAPS, dict(type='ClassifierCue', response=CLASS_MAPS)])
def test_class_maps_of_the_own_classifier(network, response):
    """Without classifier, and the same responses as the peaks' ``cams``; one backbone pass."""
    plain, cam = network(test_cfg=dict(return_maps=True)), network(
        cue=response, test_cfg=dict(return_maps=True))
    passes = []
    cam.backbone.register_forward_hook(lambda *args: passes.append(1))
    expected, result = predict(plain), predict(cam)
    torch.testing.assert_close(expected.pred_class_scores, result.pred_class_scores)
    assert len(passes) == 1
    by_label = {int(label): cams for label, cams in zip(expected.pred_instances.labels, expected.pred_instances.cams)}
    assert len(result.pred_instances)
    for label, found in zip(result.pred_instances.labels.tolist(), result.pred_instances.maps):
        torch.testing.assert_close(found, by_label[label].clamp(min=0))


def test_image_labels_of_the_sample_restrict_another_classifier(network):
    model = network(cue=dict(type='ClassifierCue', classifier=classifier(classes=3, top_k=3)),
                    test_cfg=dict(use_image_labels=True))
    assert set(predict(model, *samples(1, (64, 64), image_labels=[2])).pred_instances.labels.tolist()) == {2}
    assert len(predict(model, *samples(1, (64, 64), image_labels=[])).pred_instances) == 0
    with pytest.raises(KeyError, match='0.jpg has no image_labels'):
        predict(model)


def test_training_with_another_cue_moves_the_filler_alone(network):
    model = network(peak_head=None, sampler=dict(type='ProposalPseudoGTSampler', overlap_thr=0.),
                    cue=dict(type='ClassifierCue', classifier=classifier(classes=4), groups='agnostic')).train()
    model.set_stage('fill')
    sample, = samples(1, (64, 64), image_labels=[0])
    sample.segment_proposals = quarters()
    model.loss(images(1, (64, 64)) / 255, [sample])['loss_fill'].backward()
    assert any(parameter.grad.abs().sum() > 0 for parameter in model.filler.parameters())
    assert all(parameter.grad is None for parameter in [*model.cue.parameters(), *model.backbone.parameters()])
    assert not model.cue.classifier.training and not model.backbone.training
