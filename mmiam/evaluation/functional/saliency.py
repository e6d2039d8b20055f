"""Metrics of salient object detection: F_beta at 256 thresholds, adaptive and maximal F_beta, and MAE.

Legend: H x W pixels of one image, T = 256 thresholds t / 255 with t = 255, 254, ..., 0. The definitions are those of
the field's standard toolbox (pysodmetrics); docs/saliency.md records the comparison. This file needs only NumPy, so
that it can run next to that toolbox in an environment without the rest of the package.

    P = |S >= theta and T| / |S >= theta|,  R = |S >= theta and T| / |T|,  F = (1 + b2) P R / (b2 P + R),  b2 = 0.3
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: weight of precision against recall (Achanta et al., CVPR 2009); the paper's Table 4 does not state another
BETA2 = 0.3
NUM_THRESHOLDS = 256


@dataclass
class SaliencyScores:
    """Scores of one image, or their means over the images of a data set; all NaN if there are no images.

    Attributes:
        curve (ndarray): F_beta at the thresholds 255 / 255, 254 / 255, ..., 0, float64 (256,) in [0, 1].
        adaptive (float): F_beta at twice the mean of the map.
        mae (float): Mean absolute difference between map and mask.
    """
    curve: np.ndarray
    adaptive: float
    mae: float

    @property
    def best_thr(self) -> float:
        """The threshold in [0, 1], common to all images, with the highest mean F_beta; NaN without images."""
        return float('nan') if np.isnan(self.mae) else (NUM_THRESHOLDS - 1 - int(self.curve.argmax())) / 255

    def metrics(self) -> dict[str, float]:
        """Return ``F_mean`` (over thresholds), ``F_adaptive``, ``F_max`` (of the mean curve) and ``MAE``, in [0, 1]."""
        return dict(F_mean=float(self.curve.mean()), F_adaptive=self.adaptive, F_max=float(self.curve.max()),
                    MAE=self.mae)


def min_max(values: np.ndarray) -> np.ndarray:
    """Stretch values to [0, 1], float64 of the same shape; constant values stay as they are.

    Raises:
        ValueError: if a value is not finite, or the values are one constant outside [0, 1].
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError('the saliency map holds NaN or infinity')
    if not values.size:
        return values
    low, high = values.min(), values.max()
    if low == high:
        if not 0 <= low <= 1:
            raise ValueError(f'the saliency map is {low:g} everywhere; a constant map must lie in [0, 1]')
        return values
    return (values - low) / (high - low)


def f_measure(true_positives, marked, positives) -> np.ndarray:
    """Compute F_beta from pixel counts; 0 wherever no pixel is marked correctly.

    Args:
        true_positives (ndarray): Number of marked pixels that belong to the object.
        marked (ndarray): Number of marked pixels.
        positives (ndarray): Number of pixels of the object.

    Returns:
        ndarray: float64, in [0, 1]. In terms of counts F = (1 + b2) TP / (marked + b2 positives).
    """
    below = np.asarray(marked, np.float64) + BETA2 * np.asarray(positives, np.float64)
    values = (1 + BETA2) * np.asarray(true_positives, np.float64) / np.where(below == 0, 1, below)
    return np.minimum(values, 1)  # rounding may lift a perfect map just above 1


def image_saliency(saliency: np.ndarray, mask: np.ndarray, valid: np.ndarray | None = None) -> SaliencyScores:
    """Evaluate one saliency map.

    The map is stretched to [0, 1] first. The 256 thresholds apply to its values times 255, rounded down; the adaptive
    threshold, min(2 mean, 1), applies to the values themselves. F_beta is 0 at any threshold if the mask has no
    foreground.

    Args:
        saliency (ndarray): Map, (H, W), of any range.
        mask (ndarray): Salient object, bool (H, W).
        valid (ndarray, optional): Valid pixels, bool (H, W). Other pixels count nowhere (mean, counts, MAE), although
            they take part in the stretching. None: all pixels are valid.

    Returns:
        SaliencyScores: The scores.

    Raises:
        ValueError: if shapes differ or no pixel is valid; see also :func:`min_max`.
    """
    saliency, mask = np.asarray(saliency), np.asarray(mask, dtype=bool)
    if saliency.shape != mask.shape or (valid is not None and valid.shape != mask.shape):
        raise ValueError(f'the saliency map has {saliency.shape} pixels, the mask {mask.shape}'
                         + (f', valid {valid.shape}' if valid is not None else ''))
    values = min_max(saliency)
    if valid is not None:
        values, mask = values[valid], mask[valid]
    if not values.size:
        raise ValueError('no pixel to compare: the image is empty or void everywhere')
    levels = (values * 255).astype(np.uint8).ravel()
    marked = np.bincount(levels, minlength=NUM_THRESHOLDS)[::-1].cumsum()
    hits = np.bincount(levels[mask.ravel()], minlength=NUM_THRESHOLDS)[::-1].cumsum()
    chosen = values >= min(2 * values.mean(), 1)
    positives = np.count_nonzero(mask)
    adaptive = f_measure(np.count_nonzero(chosen & mask), np.count_nonzero(chosen), positives)
    mae = np.abs(values - mask).mean()
    return SaliencyScores(f_measure(hits, marked, positives), float(adaptive), float(mae))


def saliency_scores(images: Sequence[SaliencyScores]) -> SaliencyScores:
    """Average scores over images. ``F_mean`` and ``F_max`` come from the mean curve, not from each image's own."""
    if not images:
        return SaliencyScores(np.full(NUM_THRESHOLDS, np.nan), float('nan'), float('nan'))
    return SaliencyScores(np.mean([image.curve for image in images], axis=0),
                          float(np.mean([image.adaptive for image in images])),
                          float(np.mean([image.mae for image in images])))
