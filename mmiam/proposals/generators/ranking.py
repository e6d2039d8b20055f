"""Ranking of proposals: good ones first, and each unlike those before it.

Legend: n proposals.
"""
from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

# Our choice. The order of merging dominates, and all other cues have the same small weight. They were not fitted one by
# one: only their common factor 0.1 was compared with 0.05 to 0.3 (see docs/proposals.md).
CUE_WEIGHTS = dict(order=1., persistence=.1, edge=.1, contrast=.1, compact=.1, fill=.1, inner=.1, agreement=.1,
                   density=.1)


def objectness(cues: dict[str, np.ndarray], weights: dict[str, float] = CUE_WEIGHTS) -> np.ndarray:
    """Compute the weighted mean of the cues, each replaced by its rank within the image: (n,) floats in [0, 1]."""
    total = np.zeros(len(next(iter(cues.values()))))
    for name, weight in weights.items():
        total += weight * (rankdata(cues[name]) / max(len(total), 1))  # equal values share the mean of their ranks
    return total / sum(weights.values())


def diverse_order(scores: np.ndarray, iou: np.ndarray, limit: int, duplicate_iou: float = 0.95,
                  penalty: float = 0.28) -> tuple[np.ndarray, np.ndarray]:
    """Order proposals greedily by maximal marginal relevance, without near-duplicates.

    Each step takes the proposal with the largest score - penalty * (largest IoU with one taken before)^4, and drops
    those whose IoU with a taken one is ``duplicate_iou`` or more.

    Args:
        scores (ndarray): (n,) objectness in [0, 1].
        iou (ndarray): (n, n) IoU between proposals.
        limit (int): greatest number of proposals taken.
        duplicate_iou (float): 0.95, as in MCG.
        penalty (float): weight of the penalty. Like the fourth power, which spares proposals that merely overlap, our
            choice by the mean best IoU of the first 200 on images of the training split.

    Returns:
        tuple[ndarray, ndarray]: (m,) indices in order, and the value at which each was taken.
    """
    value = np.asarray(scores, np.float32).copy()
    scores = value.copy()
    nearest = np.zeros(len(value), np.float32)
    order, values = [], []
    for _ in range(min(limit, len(value))):
        best = int(value.argmax())
        if value[best] == -np.inf:
            break
        order.append(best)
        values.append(float(value[best]))
        np.maximum(nearest, iou[best], out=nearest)
        nearest[best] = 1
        value = np.where(nearest >= duplicate_iou, -np.inf, scores - penalty * np.square(np.square(nearest)))
    return np.array(order, np.int64), np.array(values, np.float32)
