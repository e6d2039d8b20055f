import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS


class Proposals:
    """Stands for SegmentProposals: an object that must not be copied."""

    def __deepcopy__(self, memo):
        raise AssertionError('copied')


def pack(results, **kwargs):
    return TRANSFORMS.build(dict(type='PackWeakInputs', **kwargs))(results)


def test_image_labels_proposals_and_meta():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    proposals = Proposals()
    packed = pack(dict(img=image, img_id='a', ori_shape=(2, 4), image_labels=[1, 3], sample_idx=5,
                       segment_proposals=proposals))
    assert packed['inputs'].shape == (3, 2, 4) and packed['inputs'].dtype == torch.uint8
    assert packed['inputs'].is_contiguous()
    assert packed['inputs'][:, 1, 2].tolist() == image[1, 2].tolist()
    sample = packed['data_samples']
    assert sample.segment_proposals is proposals
    assert sample.image_labels == [1, 3] and sample.img_id == 'a'
    assert 'img_path' not in sample and 'sample_idx' not in sample and 'instances' not in sample


def test_boxes_and_masks_cannot_pass():
    truth = dict(gt_bboxes=np.ones((1, 4)), gt_masks=np.ones((1, 2, 2)), gt_bboxes_labels=np.ones(1),
                 gt_seg_map=np.ones((2, 2)))
    sample = pack(dict(img=np.zeros((2, 2, 3), np.uint8), **truth))['data_samples']
    assert sample.all_keys() == []


def test_chosen_meta_keys():
    sample = pack(dict(img_id=1, ori_shape=(1, 1), sample_idx=7, void_mask=None), meta_keys=('sample_idx', ))
    assert sample['data_samples'].metainfo == dict(sample_idx=7, void_mask=None)
    assert 'inputs' not in sample


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 1), (1, 1, 3)])
def test_images_have_three_channels(shape):
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    packed = pack(dict(img=image))['inputs'].numpy()
    assert packed.shape == (3, *shape[:2]) and packed.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(packed[channel], np.atleast_3d(image)[..., channel if shape[2:] == (3, ) else 0])


@pytest.mark.parametrize('shape', [(2, 3, 4), (2, 3, 2), (2, 3, 3, 1)])
def test_other_channels_are_refused(shape):
    with pytest.raises(ValueError, match='gray .*take alpha'):
        pack(dict(img=np.zeros(shape, np.uint8)))


@pytest.mark.parametrize('image', [np.zeros((2, 2, 3), np.uint16), np.zeros((2, 2), bool), np.zeros((2, 2, 3), int),
                                   np.full((2, 2, 3), np.nan), np.full((2, 2, 3), -np.inf, np.float32)])
def test_values_that_are_no_gray_levels(image):
    with pytest.raises(ValueError, match='an image must be uint8, or finite numbers from 0 to 255, got '):
        pack(dict(img=image))


def test_values_from_0_to_1_are_said():
    with pytest.warns(UserWarning, match='highest value of an image is 0.8; .* multiply them by 255'):
        pack(dict(img=np.full((2, 2, 3), 0.8)))
