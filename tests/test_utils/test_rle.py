import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from mmiam.utils.rle import (
    check_rle,
    decode_masks,
    encode_masks,
    remove_region,
    rle_areas,
    rle_box,
    rle_iou,
    run_lengths,
)


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (7, 1), (5, 6), (24, 32)])
@pytest.mark.parametrize('density', [0., .1, .5, 1.])
def test_same_bytes_as_pycocotools(size, density):
    masks = np.random.default_rng(0).random((4, *size)) < density
    encoded = encode_masks(masks)
    for mask, rle in zip(masks, encoded):
        expected = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert rle == dict(size=list(size), counts=expected['counts'].decode())
    np.testing.assert_array_equal(decode_masks(encoded, size), masks)


def test_tensors_other_types_and_json():
    mask = np.random.default_rng(1).integers(0, 3, (2, 4, 5))
    for other in (torch.from_numpy(mask), mask.astype(np.uint8), mask != 0, (mask != 0)[:, ::-1][:, ::-1]):
        assert encode_masks(other) == encode_masks(mask)
    json.dumps(encode_masks(mask))
    with pytest.raises(ValueError, match=r'\(n, H, W\)'):
        encode_masks(mask[0])
    assert encode_masks(np.zeros((0, 3, 3))) == [] and decode_masks([], (3, 3)).shape == (0, 3, 3)


def test_iou_and_area_against_dense_masks():
    rng = np.random.default_rng(2)
    first, second = rng.random((5, 6, 7)) < .4, rng.random((3, 6, 7)) < .4
    first[0] = False
    second[0] = False
    iou = rle_iou(encode_masks(first), encode_masks(second))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            union = (a | b).sum()
            assert iou[i, j] == ((a & b).sum() / union if union else 0)
    np.testing.assert_array_equal(rle_areas(encode_masks(first)), first.sum((1, 2)))
    assert rle_iou([], encode_masks(second)).shape == (0, 3) and rle_areas([]).shape == (0, )


def test_remove_region():
    rng = np.random.default_rng(3)
    masks, region = rng.random((3, 6, 7)) < .5, rng.random((6, 7)) < .3
    rles = encode_masks(masks)
    removed = remove_region(rles, encode_masks(region[None])[0])
    np.testing.assert_array_equal(decode_masks(removed, (6, 7)), masks & ~region)
    assert remove_region(rles, None) is rles
    assert remove_region(rles, encode_masks(np.zeros((1, 6, 7)))[0]) is rles


def test_runs_and_box_by_hand():
    mask = np.zeros((1, 3, 4), bool)
    mask[0, 1:, 1] = mask[0, 0, 2] = True  # column-major: 4 off, 3 on, 5 off
    rle, = encode_masks(mask)
    assert run_lengths(rle['counts']).tolist() == [4, 3, 5] and rle_box(rle) == [1, 0, 3, 3]


@pytest.mark.parametrize('density', [.3, 1.])
def test_runs_as_pycocotools_packs_them(density):
    masks = np.random.default_rng(0).random((5, 40, 60)) < density
    for one, rle in zip(masks, encode_masks(masks)):
        edges = np.flatnonzero(np.diff(one.T.ravel().astype(int), prepend=0, append=2))
        assert run_lengths(rle['counts'].encode()).tolist() == np.diff(edges, prepend=0).tolist()
        check_rle(rle, (40, 60), 'it')


@pytest.mark.parametrize('counts, message', [
    ('4~', 'a character'), ('4 3', 'a character'), ('4P', 'end within'), (b'435', 'is no RLE'), ('434', 'image has 12'),
    ('436', 'image has 12'), ('=o0', 'image has 12'), ('', 'image has 12')])
def test_counts_that_are_none_or_do_not_cover_the_image(counts, message):
    """4, 3 and 5 pixels would; 13 and -1 do not."""
    check_rle(dict(size=[3, 4], counts='435'), (3, 4), 'it')
    with pytest.raises(ValueError, match=f'^it.*{message}'):
        check_rle(dict(size=[3, 4], counts=counts), (3, 4), 'it')
