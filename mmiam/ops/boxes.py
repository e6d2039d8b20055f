"""Boxes and the simple masks made of them.

Legend: n, m boxes as (x1, y1, x2, y2) in pixels, x2 and y2 exclusive: the box of one pixel at the origin is
(0, 0, 1, 1); H x W image size. A pixel belongs to a shape that its centre lies in.
"""
from __future__ import annotations

import torch
from torch import Tensor


def box_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Filled boxes: (n, 4) -> bool (n, H, W) for ``size`` = (H, W)."""
    xs, ys = _centres(boxes, size)
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    return ((ys >= y1) & (ys < y2))[:, :, None] & ((xs >= x1) & (xs < x2))[:, None]


def ellipse_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Ellipses inscribed in boxes of positive sides: (n, 4) -> bool (n, H, W) for ``size`` = (H, W)."""
    xs, ys = _centres(boxes, size)
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    across = ((2 * xs - x1 - x2) / (x2 - x1)).square()
    down = ((2 * ys - y1 - y2) / (y2 - y1)).square()
    return down[:, :, None] + across[:, None] <= 1


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of all pairs: (n, 4), (m, 4) -> (n, m) in [0, 1]; 0 with an empty box."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clamp(min=0).prod(2)
    area_first, area_second = ((boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1) for boxes in (first, second))
    union = area_first[:, None] + area_second[None] - common
    return torch.where(union > 0, common / union.clamp(min=torch.finfo(union.dtype).tiny), 0.)


def _centres(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixel centres: x as (1, W), y as (1, H)."""
    height, width = size
    return (torch.arange(width, dtype=boxes.dtype, device=boxes.device)[None] + 0.5,
            torch.arange(height, dtype=boxes.dtype, device=boxes.device)[None] + 0.5)
