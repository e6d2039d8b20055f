"""How much of an object's extent a soft map covers: statistics of best-matching IoUs (Sec. 4.2).

Legend: P soft maps and m true masks of one image; S samples of all images, each with a best IoU, a size and a class.

A sample is either a *map* or an *instance*. The paper assigns maps to true masks by max over theta and T_i of
IoU(M >= theta, T_i), one value a map, whatever the class. Methods that find different numbers of maps are then averaged
over different objects, and a missed object costs nothing. The other view is one value a true instance, of the best map
of its class, 0 without one: all methods are averaged over the same objects. Both are offered.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

VIEWS = ('instance', 'map')
#: edges of the size groups, as shares of the image's area; our choice
SIZE_EDGES = (0., 0.01, 0.05, 0.1, 0.2, 0.4, 1.)


@dataclass
class ExtentSamples:
    """Samples of one method in one view, collected image by image.

    Attributes:
        iou (list[float]): Best IoU, in [0, 1].
        size (list[float]): Area of the true instance (of a map: the one it matches best), share of the image.
        label (list[int]): Class of that instance.
    """
    iou: list[float] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    label: list[int] = field(default_factory=list)

    def mean(self) -> float:
        """Mean IoU over samples, NaN without any."""
        return float(np.mean(self.iou)) if self.iou else float('nan')

    def by_class(self, num_classes: int) -> list[float]:
        """Mean IoU of each class, NaN for a class without samples (Fig. 8)."""
        iou, label = np.array(self.iou), np.array(self.label, dtype=int)
        return [float(iou[label == index].mean()) if (label == index).any() else float('nan')
                for index in range(num_classes)]

    def by_size(self, edges: Sequence[float] = SIZE_EDGES) -> list[dict]:
        """``low``, ``high`` (shares of the image, high excluded but for the last), ``number``, ``mean`` (or None)."""
        iou, size = np.array(self.iou), np.array(self.size)
        rows = []
        for low, high in zip(edges[:-1], edges[1:]):
            chosen = iou[(size >= low) & ((size < high) | (high == edges[-1]))]
            rows.append(dict(low=low, high=high, number=len(chosen),
                             mean=float(chosen.mean()) if len(chosen) else None))
        return rows


def add_image(views: dict[str, ExtentSamples], iou: np.ndarray, map_labels: np.ndarray, sizes: np.ndarray,
              labels: np.ndarray) -> None:
    """Add the samples of an image in both views.

    Args:
        views (dict[str, ExtentSamples]): ``instance`` and ``map``; changed in place.
        iou (ndarray): Best IoU over thresholds of every map with every mask, (P, m).
        map_labels (ndarray): Class of each map, (P,).
        sizes (ndarray): Area of each mask as a share of the image, (m,).
        labels (ndarray): Class of each mask, (m,).

    Raises:
        ValueError: if the shapes do not fit.
    """
    iou = np.asarray(iou, dtype=np.float64)
    if iou.shape != (len(map_labels), len(labels)) or len(sizes) != len(labels):
        raise ValueError(f'iou {iou.shape} does not fit {len(map_labels)} maps, {len(labels)} masks and {len(sizes)} '
                         'sizes')
    if not len(labels):
        return
    same = np.equal.outer(np.asarray(map_labels), np.asarray(labels))
    best = np.where(same, iou, 0.).max(axis=0, initial=0.)
    matched = iou.argmax(axis=1)
    for name, values, chosen in (('instance', best, np.arange(len(labels))), ('map', iou.max(axis=1), matched)):
        views[name].iou += values.tolist()
        views[name].size += np.asarray(sizes, dtype=float)[chosen].tolist()
        views[name].label += np.asarray(labels, dtype=int)[chosen].tolist()


def density(size: Sequence[float], iou: Sequence[float], bins: int = 50, sigma: float = 1.5) -> np.ndarray:
    """Density of samples over object size and IoU (Fig. 7), a histogram smoothed by a Gaussian.

    Mass that the Gaussian would carry over the border is reflected, so that none is lost where samples gather, at size
    0 and IoU 0. Histogram and width are our choice; the paper does not say how it estimates the density.

    Args:
        size (Sequence[float]): In [0, 1], (S,).
        iou (Sequence[float]): In [0, 1], (S,).
        bins (int): Cells of each axis.
        sigma (float): Standard deviation of the Gaussian in cells; 0 does not smooth.

    Returns:
        ndarray: float64 (bins, bins), rows are IoU from 0 up, columns size; mean 1, or 0 without samples.

    Raises:
        ValueError: if a value is outside [0, 1].
    """
    from scipy.ndimage import gaussian_filter
    values = np.stack([np.asarray(iou, dtype=np.float64), np.asarray(size, dtype=np.float64)])
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise ValueError('sizes and IoUs must lie in [0, 1]')
    counts = np.histogram2d(*values, bins=bins, range=((0, 1), (0, 1)))[0]
    if not counts.sum():
        return counts
    if sigma > 0:
        counts = gaussian_filter(counts, sigma, mode='reflect')
    return counts / counts.mean()
