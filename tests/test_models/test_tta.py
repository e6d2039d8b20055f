"""Views of an image merged into one prediction."""
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from support import OnlyPredicts

from mmiam.datasets.transforms import CropTile

PACK = [dict(type='PackWeakInputs')]
WINDOWS = [dict(type='CropTile', window=window) for window in ((0, 0, 1, 1), (0, 0, .6, 1), (.4, 0, 1, 1))]


@MODELS.register_module()
class BrightRegions(OnlyPredicts):
    """An instance for each bright value that at least a share of the pixels has; its label is the value - 200."""

    def __init__(self, least=0., data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.least = least

    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        for image, sample in zip(batch_inputs, batch_data_samples):
            values = [v for v in image[0].unique().int().tolist()
                      if v >= 200 and (image[0] == v).float().mean() >= self.least]
            masks = torch.stack([image[0] == v for v in values]) if values else torch.zeros(0, *image.shape[1:]).bool()
            boxes = [[m.any(0).nonzero().min(), m.any(1).nonzero().min(), m.any(0).nonzero().max() + 1,
                      m.any(1).nonzero().max() + 1] for m in masks]
            sample.pred_instances = InstanceData(
                masks=masks, labels=torch.tensor(values, dtype=torch.long) - 200,
                scores=torch.full((len(values), ), .5), bboxes=torch.tensor(boxes).float().reshape(-1, 4))
        return batch_data_samples


def predict(image, *steps, least=0., **settings):
    init_default_scope('mmdet')
    model = MODELS.build(dict(
        type='MaskTTAModel', module=dict(type='BrightRegions', least=least,
                                         data_preprocessor=dict(type='DetDataPreprocessor')), **settings))
    views = Compose([dict(type='TestTimeAug', transforms=[*steps, PACK])])(
        dict(img=np.repeat(image[..., None], 3, 2), img_id=0, img_path='', ori_shape=image.shape))
    sample, = model.test_step({name: [[view] for view in values] for name, values in views.items()})
    assert sample.ori_shape == image.shape
    found = sample.pred_instances
    return {label: found[found.labels == label] for label in found.labels.unique().tolist()}


def picture():
    image = np.zeros((20, 40), np.uint8)
    image[2:6, 3:8] = 200     # in the left window alone
    image[8:14, 14:26] = 201  # over both seams
    image[15:19, 30:38] = 202
    return image


def test_windows_show_what_is_too_small_for_the_whole():
    image = picture()
    assert sorted(predict(image, WINDOWS[:1], least=.038)) == [1, 2]  # 20 of 800 pixels are too few
    found = predict(image, WINDOWS, least=.038, tile_weight=.6)
    assert sorted(found) == [0, 1, 2]
    for label, one in found.items():
        assert len(one) == 1 and one.masks[0].numpy().tolist() == (image == 200 + label).tolist()
    assert found[0].scores.item() == pytest.approx(.3) and found[2].scores.item() == pytest.approx(.5)
    assert found[0].bboxes.tolist() == [[3, 2, 8, 6]]


def test_a_mask_that_a_window_cuts_is_left_out():
    """The middle object is whole in no window; each has a part that would be no duplicate of the other."""
    image = picture()
    assert sorted(predict(image, WINDOWS[1:])) == [0, 2]
    image[8:14, 14:26], image[8:14, 36:40] = 0, 203  # at a side of the image itself nothing is cut
    assert sorted(predict(image, WINDOWS[1:])) == [0, 2, 3]


def test_the_best_of_overlapping_masks_of_a_class_and_the_best_of_all():
    image = picture()
    found = predict(image, WINDOWS, tile_weight=2.)
    assert {label: one.scores.tolist() for label, one in found.items()} == {0: [1.], 1: [.5], 2: [1.]}
    assert sorted(predict(image, WINDOWS, tile_weight=2., max_per_img=2)) == [0, 2]
    assert sum(map(len, predict(image, WINDOWS, iou_thr=1.).values())) == 5


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_mirrored_views_are_turned_back(direction):
    image = picture()
    found = predict(image, [dict(type='RandomFlip', prob=1., direction=direction)])
    plain = predict(image, [dict(type='RandomFlip', prob=0.)])
    for label, one in plain.items():
        assert found[label].masks.equal(one.masks) and found[label].bboxes.equal(one.bboxes)


def test_an_image_without_instances():
    assert predict(np.zeros((9, 9), np.uint8), WINDOWS) == {}


def test_windows_have_at_least_a_pixel():
    tile = CropTile((.9, .9, 1, 1))(dict(img=np.zeros((3, 2, 3), np.uint8)))
    assert tile['img'].shape == (1, 1, 3) and tile['tile'] == (1, 2, 2, 3) and tile['whole_shape'] == (3, 2)
    for window in ((0, 0, 1.1, 1), (.5, 0, .5, 1)):
        with pytest.raises(ValueError, match='window'):
            CropTile(window)
