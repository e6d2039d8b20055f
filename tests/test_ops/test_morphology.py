"""Binary morphology against OpenCV and against a loop over pixels."""
import cv2
import numpy as np
import pytest
import torch

from mmiam.ops.morphology import dilate, erode, morphological_gradient


def random_masks(n, height, width, share, seed=0):
    return torch.rand(n, height, width, generator=torch.Generator().manual_seed(seed)) < share


def slow(mask, kernel_size, reduce):
    radius, (height, width) = kernel_size // 2, mask.shape
    return torch.tensor([[bool(reduce(mask[max(y - radius, 0):y + radius + 1, max(x - radius, 0):x + radius + 1]))
                          for x in range(width)] for y in range(height)])


def test_gradient_by_hand():
    # a 3 x 3 block in the corner of a 6 x 6 image, window 3: grows by one, shrinks to 2 x 2 (the border does not eat)
    mask = torch.zeros(1, 6, 6, dtype=torch.bool)
    mask[0, :3, :3] = True
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[:4, :4] = True
    expected[:2, :2] = False
    assert torch.equal(morphological_gradient(mask, 3)[0], expected)


@pytest.mark.parametrize('kernel_size', [1, 3, 5, 9])
@pytest.mark.parametrize('size', [(12, 17), (3, 20), (1, 1), (1, 4)])
@pytest.mark.parametrize('share', [.1, .9, 0., 1.1])
def test_equals_opencv(kernel_size, size, share):
    masks = random_masks(4, *size, share)
    window = np.ones((kernel_size, kernel_size), np.uint8)
    for function, operation in ((dilate, cv2.MORPH_DILATE), (erode, cv2.MORPH_ERODE),
                                (morphological_gradient, cv2.MORPH_GRADIENT)):
        ours = function(masks, kernel_size)
        assert ours.dtype == torch.bool
        for mask, result in zip(masks, ours):
            theirs = cv2.morphologyEx(mask.numpy().astype(np.uint8), operation, window)
            assert np.array_equal(result.numpy(), theirs.astype(bool))


def test_equals_the_loop():
    masks = random_masks(3, 7, 9, .5)
    for mask, grown, shrunk in zip(masks, dilate(masks, 5), erode(masks, 5)):
        assert torch.equal(grown, slow(mask, 5, torch.any)) and torch.equal(shrunk, slow(mask, 5, torch.all))


def test_input_stays_and_numbers_count_as_masks():
    masks = random_masks(2, 8, 8, .3)
    before = masks.clone()
    result = morphological_gradient(masks)
    assert torch.equal(masks, before)
    assert torch.equal(morphological_gradient(masks.float() * .5), result)
    assert torch.equal(morphological_gradient(masks.byte()), result)


def test_empty():
    assert morphological_gradient(torch.zeros(0, 4, 5, dtype=torch.bool)).shape == (0, 4, 5)


def test_errors():
    with pytest.raises(ValueError, match='odd'):
        morphological_gradient(torch.zeros(1, 4, 4), 4)
    with pytest.raises(ValueError, match=r'\(n, H, W\)'):
        dilate(torch.zeros(4, 4))
