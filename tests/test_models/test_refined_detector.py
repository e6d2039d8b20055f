"""Masks of any detector, refined: a stand-in detector on the light stack, mmdet's own where its operators are."""
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from support import OnlyPredicts

SIZE = 48
FOREGROUND = 'mmiam.models.postprocessors.ConvCRFPostProc.foreground'
CRF = dict(type='ConvCRFPostProc', crf=dict(kernel_size=7, blur=1))


@MODELS.register_module()
class StandIn(OnlyPredicts):
    """Gives the masks in ``masks`` (n, H, W) with the scores in ``scores``."""

    def __init__(self, masks, scores, data_preprocessor=None, with_masks=True):
        super().__init__(data_preprocessor)
        self.masks, self.scores, self.with_masks = masks, scores, with_masks

    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        for sample in batch_data_samples:
            sample.pred_instances = InstanceData(
                scores=torch.tensor(self.scores), labels=torch.arange(len(self.scores)),
                bboxes=torch.tensor([[3., 4., 30., 31.]]).repeat(len(self.scores), 1))
            if self.with_masks:
                sample.pred_instances.masks = self.masks.clone()
        return batch_data_samples


@pytest.fixture
def scene():
    """(image BGR uint8 (3, H, W) of a red disc on blue, its mask, a coarse mask in blocks of 8 pixels)."""
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing='ij')
    disc = (rows - 24)**2 + (columns - 22)**2 < 15**2
    image = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)
    image[2][disc], image[0][~disc] = 200, 180
    coarse = disc[4::8, 4::8].repeat_interleave(8, 0).repeat_interleave(8, 1)
    return image, disc, coarse


def iou(first, second):
    return ((first & second).sum() / (first | second).sum()).item()


def run(image, masks, scores=(0.9, ), preprocessor=None, refiner=CRF, **settings):
    preprocessor = preprocessor or dict(bgr_to_rgb=True, mean=[100., 110., 120.], std=[50., 60., 70.])
    model = MODELS.build(dict(
        type='RefinedDetector', base='StandIn', refiner=refiner, masks=masks, scores=list(scores),
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32, **preprocessor), **settings)).eval()
    sample = DetDataSample(metainfo=dict(img_shape=image.shape[1:], ori_shape=image.shape[1:]))
    return model.test_step(dict(inputs=[image], data_samples=[sample]))[0].pred_instances


@pytest.mark.parametrize('form', ['bool', 'uint8', 'float'])
def test_masks_follow_the_image_and_nothing_else_changes(scene, form):
    image, disc, coarse = scene
    masks = dict(bool=coarse, uint8=(coarse * 130 + 60).to(torch.uint8), float=coarse * 0.5 + 0.25)[form][None]
    result = run(image, masks)
    assert result.masks.dtype == torch.bool and result.masks.shape == (1, SIZE, SIZE)
    assert iou(coarse, disc) < 0.9 and iou(result.masks[0], disc) > 0.97
    assert result.scores.tolist() == [pytest.approx(0.9)] and result.bboxes.tolist() == [[3, 4, 30, 31]]


@pytest.mark.parametrize('preprocessor, order', [
    (dict(bgr_to_rgb=True), [2, 1, 0]), (dict(bgr_to_rgb=False), [2, 1, 0]),
    (dict(bgr_to_rgb=True, mean=[100., 110., 120.], std=[50., 60., 70.]), [2, 1, 0])])
def test_the_refiner_sees_the_image_as_it_was(scene, preprocessor, order, monkeypatch):
    """Padding, normalization and order of channels are undone, whatever the detector wants."""
    image, _, coarse = scene
    image = image[:, :40]
    seen = []
    monkeypatch.setattr(FOREGROUND, lambda self, logits, rgb: seen.append(rgb) or logits > 0)
    run(image, coarse[None, :40], preprocessor=preprocessor)
    torch.testing.assert_close(seen[0], image[order].float(), atol=1e-3, rtol=0)


def test_weak_instances_and_vanishing_masks_stay(scene, monkeypatch):
    image, disc, coarse = scene
    result = run(image, torch.stack([coarse, coarse]), scores=(0.9, 0.04))
    assert not torch.equal(result.masks[0], coarse) and torch.equal(result.masks[1], coarse)
    monkeypatch.setattr(FOREGROUND, lambda self, logits, rgb: logits > 100)
    assert torch.equal(run(image, coarse[None]).masks[0], coarse)


def test_no_instance(scene):
    image, _, coarse = scene
    assert run(image, coarse[None][:0], scores=()).masks.shape == (0, SIZE, SIZE)


def test_refusals(scene):
    image, _, coarse = scene
    for settings, error, message in (
            (dict(certainty=0.5), ValueError, 'certainty must lie'), (dict(base='Nothing'), KeyError, 'not registered'),
            (dict(refiner=dict(type='ReLU')), ValueError, 'refines no masks'),
            (dict(with_masks=False), ValueError, 'gives no masks')):
        with pytest.raises(error, match=message):
            run(image, coarse[None], **settings) if 'base' not in settings else MODELS.build(
                dict(type='RefinedDetector', refiner=CRF, **settings))
