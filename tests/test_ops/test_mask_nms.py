"""Mask NMS against a loop over pairs."""
import sys

import pytest
import torch
from support import HALF

from mmiam.ops.mask_nms import mask_iou, mask_nms


def slow_nms(masks, scores, iou_thr, labels):
    kept = []
    for i in sorted(range(len(masks)), key=lambda i: (-scores[i].item(), i)):
        for j in kept:
            inter, union = (masks[i] & masks[j]).sum().item(), (masks[i] | masks[j]).sum().item()
            if union and inter / union > iou_thr and labels[i] == labels[j]:
                break
        else:
            kept.append(i)
    return kept


def strips(*ranges, width=12):
    masks = torch.zeros(len(ranges), 1, width, dtype=torch.bool)
    for mask, (start, end) in zip(masks, ranges):
        mask[0, start:end] = True
    return masks


def test_by_hand():
    masks = strips((0, 4), (2, 6), (8, 8))
    expected = torch.tensor([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])
    assert torch.allclose(mask_iou(masks, masks), expected) and torch.allclose(mask_iou(masks[:1], masks), expected[:1])
    masks = strips((0, 6), (2, 8), (4, 10))  # neighbors overlap by 4 / 8, the outer two by 2 / 10
    scores, labels = torch.tensor([.9, .8, .7]), torch.zeros(3)
    assert mask_nms(masks, scores, .3, labels).tolist() == [0, 2]  # a dropped mask drops nothing
    assert mask_nms(masks, scores, .5, labels).tolist() == [0, 1, 2]  # 0.5 does not exceed 0.5
    for number in (0, 1, 3):  # empty masks do not overlap, not even each other
        kept = mask_nms(torch.zeros(number, 4, 4, dtype=torch.bool), torch.arange(number).float(), .5,
                        torch.zeros(number))
        assert kept.tolist() == list(range(number))[::-1] and kept.dtype == torch.long


@pytest.mark.parametrize('seed', range(8))
def test_equals_the_loop(seed, monkeypatch):
    if seed % 2:  # several chunks of pixels; the package's attribute of this name is the function
        monkeypatch.setattr(sys.modules[mask_nms.__module__], '_CHUNK_ELEMENTS', 100)
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 9, (30, 2), generator=generator)
    masks = torch.zeros(30, 16, 15, dtype=torch.bool)
    for mask, (y, x) in zip(masks, corners.tolist()):
        mask[y:y + 6, x:x + 5] = True
    masks[7] = False
    scores = torch.randint(0, 12, (30,), generator=generator) / 11  # with ties
    labels = torch.randint(0, 1 + seed // 3, (30,), generator=generator)
    assert mask_nms(masks, scores, .3, labels).tolist() == slow_nms(masks, scores, .3, labels)


@pytest.mark.parametrize('dtype', [torch.bfloat16, HALF])
def test_counts_are_exact_under_autocast(dtype):
    """90,000 pixels are inf in half precision, and 257 are 256 in bfloat16."""
    masks = torch.zeros(3, 300, 600, dtype=torch.bool)
    masks[0, :, :300] = masks[1, :, 299:599] = True  # they share one column
    masks[2, 0, :257] = True
    expected = mask_iou(masks, masks)
    with torch.autocast('cpu', dtype=dtype):
        assert torch.equal(mask_iou(masks, masks), expected)
        assert mask_nms(masks, torch.tensor([.9, .8, .7]), .3, torch.zeros(3)).tolist() == [0, 1, 2]
    assert expected[0, 1] == pytest.approx(300 / 179700) and expected[0, 2] == pytest.approx(257 / 90000)


@pytest.mark.parametrize('call, message', [
    (lambda masks: mask_nms(masks, torch.zeros(3), .5, torch.zeros(2)), 'scores'),
    (lambda masks: mask_nms(masks, torch.zeros(2), .5, torch.zeros(3)), 'labels'),
    (lambda masks: mask_iou(masks, torch.zeros(2, 5, 4, dtype=torch.bool)), 'one size')])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 4, 4, dtype=torch.bool))
