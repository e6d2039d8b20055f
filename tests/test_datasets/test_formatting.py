import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS


class Proposals:
    """Stands for SegmentProposals: an object that must not be copied."""

    def __deepcopy__(self, memo):
        raise AssertionError('copied')


def pack(kwargs=None, **sample):
    return TRANSFORMS.build(dict(type='PackWeakInputs', **(kwargs or {})))(sample)


def test_image_labels_proposals_and_meta_but_no_boxes_or_masks():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    truth = dict(gt_bboxes=np.ones((1, 4)), gt_masks=np.ones((1, 2, 2)), gt_bboxes_labels=np.ones(1),
                 gt_seg_map=np.ones((2, 2)))
    proposals = Proposals()
    packed = pack(img=image, img_id='a', ori_shape=(2, 4), image_labels=[1, 3], sample_idx=5,
                  segment_proposals=proposals, **truth)
    assert packed['inputs'].shape == (3, 2, 4) and packed['inputs'].dtype == torch.uint8
    assert packed['inputs'].is_contiguous()
    assert packed['inputs'][:, 1, 2].tolist() == image[1, 2].tolist()
    sample = packed['data_samples']
    assert sample.segment_proposals is proposals and sample.keys() == ['segment_proposals']
    assert sample.metainfo == dict(img_id='a', ori_shape=(2, 4), image_labels=[1, 3])
    chosen = pack(dict(meta_keys=('sample_idx', )), img_id=1, sample_idx=7, void_mask=None)
    assert chosen['data_samples'].metainfo == dict(sample_idx=7, void_mask=None) and 'inputs' not in chosen


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 1), (1, 1, 3)])
def test_images_have_three_channels(shape):
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    packed = pack(img=image)['inputs'].numpy()
    assert packed.shape == (3, *shape[:2]) and packed.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(packed[channel], np.atleast_3d(image)[..., channel if shape[2:] == (3, ) else 0])


@pytest.mark.parametrize('image', [
    *(np.zeros(shape, np.uint8) for shape in ((2, 3, 4), (2, 3, 2), (2, 3, 3, 1))),
    np.zeros((2, 2, 3), np.uint16), np.zeros((2, 2), bool), np.zeros((2, 2, 3), int), np.full((2, 2, 3), np.nan),
    np.full((2, 2, 3), -np.inf, np.float32)])
def test_what_is_no_image(image):
    with pytest.raises(ValueError, match='an image must be (uint8, or finite numbers from 0 to 255, got '
                       r'|\(H, W, 3\), or gray .*take alpha)'):
        pack(img=image)


def test_values_from_0_to_1_are_said():
    with pytest.warns(UserWarning, match='highest value of an image is 0.8; .* multiply them by 255'):
        pack(img=np.full((2, 2, 3), 0.8))
