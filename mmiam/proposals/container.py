"""Segment proposals of one image, stored as label maps and memberships instead of masks.

Legend: L levels (label maps), H, W image size, K_l labels of level l, n proposals, n_l proposals of level l.

A proposal is a union of superpixels of one label map. It is stored as its level, and one row of a bit-packed membership
table over the labels of that level. Thus 1,500 proposals of a 500x375 image need well under 2 MB (as boolean masks: 280
MB). Flips and resizing act on the L label maps, without expanding any mask.
"""
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from mmiam.utils.files import write_arrays
from mmiam.utils.images import check_sides

FORMAT_VERSION = 1
#: limit for a level: in a file made to exhaust memory, a table without rows can claim any number (our choice)
MAX_LABELS = 2**24
_FLIP_AXES = {'horizontal': (1,), 'vertical': (0,), 'diagonal': (0, 1)}


def label_dtype(num_labels: int) -> np.dtype:
    """Return the smallest integer type for the labels 0 .. num_labels - 1."""
    return np.min_scalar_type(max(num_labels - 1, 0))


class SegmentProposals:
    """Class-agnostic segment proposals of one image.

    Args:
        label_maps (sequence of ndarray): L integer maps of shape (H, W), with labels from 0.
        members (sequence of ndarray): L tables, ``members[l]`` either bool (n_l, K_l), or uint8 (n_l, ceil(K_l/8))
            as made by :func:`numpy.packbits`; K_l exceeds every label in ``label_maps[l]``.
        scores (ndarray, optional): (n,) floats, higher is better, or None if the source gives none.
        origin (str): where the proposals come from, for instance ``'cob'``.
        level (ndarray, optional): (n,) level of each proposal. By default, the levels follow one another.
        row (ndarray, optional): (n,) row of each proposal in ``members[level]``. Given only together with ``level``.
        num_labels (sequence of int, optional): K_l, by default taken from bool tables, or else from the maps.
        seconds (float, optional): processor time that it took to make them, if the source states it.

    The proposals are ordered: index 0 is the one that the source ranks first.

    Raises:
        ValueError: if shapes, labels or indices contradict each other, or scores are not finite; says which.

    Example:
        >>> maps = [np.array([[0, 1], [2, 2]])]
        >>> proposals = SegmentProposals(maps, [np.array([[1, 1, 0], [0, 0, 1]], bool)])
        >>> proposals.masks([1]).astype(int).tolist()
        [[[0, 0], [1, 1]]]
    """

    def __init__(self, label_maps: Sequence[np.ndarray], members: Sequence[np.ndarray],
                 scores: np.ndarray | None = None, origin: str = '', level: np.ndarray | None = None,
                 row: np.ndarray | None = None, num_labels: Sequence[int] | None = None,
                 seconds: float | None = None) -> None:
        if len(label_maps) != len(members) or not len(label_maps):
            raise ValueError(f'one membership table a label map, and at least one of each: got {len(label_maps)} '
                             f'label maps and {len(members)} tables')
        shapes = {tuple(m.shape) for m in label_maps}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2:
            raise ValueError(f'label maps must share one shape (H, W): got {sorted(shapes)}')
        self.size: tuple[int, int] = next(iter(shapes))
        if 0 in self.size:
            raise ValueError(f'an image of {self.size} (H, W) has no pixel')
        self.num_labels = tuple(
            int(k) for k in (num_labels if num_labels is not None else map(_count_labels, label_maps, members)))
        self.label_maps = tuple(
            np.ascontiguousarray(m, dtype=label_dtype(k)) for m, k in zip(label_maps, self.num_labels))
        self.members = tuple(
            np.packbits(m, axis=1) if m.dtype == bool else np.ascontiguousarray(m, np.uint8) for m in members)
        counts = [len(m) for m in self.members]
        if level is None:
            level = np.repeat(np.arange(len(counts)), counts)
            row = np.concatenate([np.arange(c) for c in counts])
        self.level = np.asarray(level, dtype=label_dtype(len(counts)))
        self.row = np.asarray(row, dtype=np.int32)
        with np.errstate(over='ignore'):  # values that are too large are refused below
            self.scores = None if scores is None else np.asarray(scores, dtype=np.float32)
        self.origin = str(origin)
        self.seconds = seconds
        self.cache: dict = {}  # results that matching derives from the label maps; never saved
        self._fingerprint: str | None = None
        self._check(label_maps)

    def _check(self, given_maps: Sequence[np.ndarray]) -> None:
        for l, (given, k, table) in enumerate(zip(given_maps, self.num_labels, self.members)):
            low, high = (int(given.min()), int(given.max())) if given.size else (0, 0)
            if low < 0 or high >= max(k, 1):
                raise ValueError(f'level {l}: labels {low}..{high} outside 0..{k - 1}')
            if table.ndim != 2 or table.shape[1] != (k + 7) // 8:
                raise ValueError(f'level {l}: {k} labels need {(k + 7) // 8} bytes a row, got {table.shape}')
        if self.level.shape != self.row.shape or self.level.ndim != 1:
            raise ValueError(f'level and row must both be (n,): got {self.level.shape} and {self.row.shape}')
        counts = np.array([len(m) for m in self.members])
        if len(self) and (int(self.level.max()) >= len(counts) or int(self.row.min()) < 0
                          or bool((self.row >= counts[self.level]).any())):
            raise ValueError('level or row points outside the membership tables')
        if self.scores is not None and self.scores.shape != (len(self), ):
            raise ValueError(f'{len(self)} proposals but scores of shape {self.scores.shape}')
        if self.scores is not None and not np.isfinite(self.scores).all():
            raise ValueError('scores must be finite numbers that fit 32 bits')

    @classmethod
    def empty(cls, size: tuple[int, ...], origin: str = '') -> SegmentProposals:
        """Make a container without proposals, for an image of size (H, W)."""
        return cls([np.zeros(size, np.uint8)], [np.zeros((0, 1), bool)], np.zeros(0, np.float32), origin)

    def __len__(self) -> int:
        return len(self.level)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}({len(self)} proposals, size={self.size}, labels={self.num_labels}, '
                f'origin={self.origin!r}, {self.nbytes / 1e6:.2f} MB)')

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes (without :attr:`cache`)."""
        arrays = [*self.label_maps, *self.members, self.level, self.row]
        return sum(a.nbytes for a in arrays) + (0 if self.scores is None else self.scores.nbytes)

    @property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 of everything that matching and sampling can depend on, including the order.

        Arrays are hashed once. Proposals made from these by a flip or by resizing hash this fingerprint together with
        the operation, so equal masks that were made in different ways have different fingerprints.
        """
        if self._fingerprint is None:
            digest = hashlib.sha256(repr((self.size, self.num_labels)).encode())
            for array in (*self.label_maps, *self.members, self.level, self.row, self.scores):
                digest.update(b'|' if array is None else np.ascontiguousarray(array))
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    # -- looking up --------------------------------------------------------------------------------------------
    def by_level(self, indices: np.ndarray | Sequence[int] | None = None):
        """Yield (l, positions, membership) for each level that occurs.

        Args:
            indices (sequence of int, optional): (k,) proposals, by default all.

        Yields:
            tuple: the level, the (m,) positions in ``indices`` whose proposals lie on it, and their membership, bool
            (m, K_l).
        """
        indices = self._indices(indices)
        level = self.level[indices]
        for l in range(len(self.label_maps)):
            positions = np.flatnonzero(level == l)
            if len(positions):
                packed = self.members[l][self.row[indices[positions]]]
                yield l, positions, np.unpackbits(packed, axis=1, count=self.num_labels[l]).view(bool)

    def masks(self, indices: np.ndarray | Sequence[int] | None = None) -> np.ndarray:
        """Expand the masks of the given proposals (by default all): bool (k, H, W)."""
        indices = self._indices(indices)
        masks = np.empty((len(indices), *self.size), dtype=bool)
        for l, positions, membership in self.by_level(indices):
            for position, lookup in zip(positions, membership):
                np.take(lookup, self.label_maps[l], out=masks[position])
        return masks

    def areas(self) -> np.ndarray:
        """Count the pixels of each proposal: int64 (n,)."""
        areas = np.zeros(len(self), np.int64)
        for l, positions, membership in self.by_level():
            # float64 represents every pixel count exactly, and its matrix product is fast
            areas[positions] = np.rint(membership @ self.label_areas(l).astype(np.float64)).astype(np.int64)
        return areas

    def label_areas(self, level: int) -> np.ndarray:
        """Count the pixels of each label of one level: int64 (K_l,)."""
        return np.bincount(self.label_maps[level].ravel(), minlength=self.num_labels[level])

    def boxes(self) -> np.ndarray:
        """Compute boxes x1, y1, x2, y2 in pixels, x2 and y2 exclusive, zeros for an empty proposal: float32 (n, 4)."""
        boxes = np.zeros((len(self), 4), np.float32)
        nowhere = (slice(2**31, 0), ) * 2  # for a label without pixels: it changes no minimum and no maximum
        for l, positions, membership in self.by_level():
            found = ndimage.find_objects(self.label_maps[l].astype(np.int32) + 1, self.num_labels[l])
            extents = [window or nowhere for window in found]
            for axis in range(2):  # 0: y, 1: x
                low, high = np.array([(window[axis].start, window[axis].stop) for window in extents]).T
                last = np.where(membership, high, 0).max(1, initial=0)
                first = np.where(membership, low, 2**31).min(1, initial=2**31)
                boxes[positions, 1 - axis] = np.minimum(first, last)
                boxes[positions, 3 - axis] = last
        return boxes

    def pairwise_iou(self, indices_a: np.ndarray | Sequence[int] | None = None,
                     indices_b: np.ndarray | Sequence[int] | None = None, dtype: type = np.float64) -> np.ndarray:
        """Compute the IoU between proposals without expanding masks: (a, b), 0 where both are empty.

        With ``dtype`` float32, this is twice as fast, and exact except for the division in images of up to 2^24 pixels.
        """
        indices_a, indices_b = self._indices(indices_a), self._indices(indices_b)
        common = np.zeros((len(indices_a), len(indices_b)), dtype)
        rows, cols = list(self.by_level(indices_a)), list(self.by_level(indices_b))
        for la, pa, ma in rows:
            for lb, pb, mb in cols:
                mass = ma.astype(dtype)
                mass = mass * self.label_areas(la).astype(dtype) if la == lb else \
                    mass @ self.label_overlaps(la, lb).astype(dtype)
                common[np.ix_(pa, pb)] = mass @ mb.T.astype(dtype)
        if 'areas' not in self.cache:
            self.cache['areas'] = self.areas().astype(np.float64)
        areas = self.cache['areas'].astype(dtype)
        union = areas[indices_a][:, None] + areas[indices_b][None]
        union -= common
        return np.divide(common, np.maximum(union, 1, out=union), out=common)

    def label_overlaps(self, level_a: int, level_b: int) -> np.ndarray:
        """Count the pixels that have label i on one level and label j on the other: float64 (K_a, K_b); cached."""
        if level_a > level_b:
            return self.label_overlaps(level_b, level_a).T
        key = ('overlaps', level_a, level_b)
        if key not in self.cache:
            ka, kb = self.num_labels[level_a], self.num_labels[level_b]
            pairs = self.label_maps[level_a].ravel().astype(np.int64) * kb + self.label_maps[level_b].ravel()
            self.cache[key] = np.bincount(pairs, minlength=ka * kb).reshape(ka, kb).astype(np.float64)
        return self.cache[key]

    # -- geometry, on label maps only ----------------------------------------------------------------------------
    def flip(self, direction: str = 'horizontal') -> SegmentProposals:
        """Flip the proposals; ``direction`` is 'horizontal', 'vertical' or 'diagonal', as in mmdet."""
        if direction not in _FLIP_AXES:
            raise ValueError(f'flip direction must be one of {sorted(_FLIP_AXES)}, got {direction!r}')
        return self._with_maps([np.flip(m, _FLIP_AXES[direction]) for m in self.label_maps], direction)

    def resize(self, size: tuple[int, int]) -> SegmentProposals:
        """Resize the proposals to (H', W') by the nearest pixel center, with the alignment used for the image."""
        height, width = (int(s) for s in size)
        if height < 1 or width < 1:
            raise ValueError(f'size must be positive, got {(height, width)}')
        if (height, width) == self.size:
            return self
        ys = np.minimum((np.arange(height) * 2 + 1) * self.size[0] // (2 * height), self.size[0] - 1)
        xs = np.minimum((np.arange(width) * 2 + 1) * self.size[1] // (2 * width), self.size[1] - 1)
        return self._with_maps([m[ys[:, None], xs] for m in self.label_maps], (height, width))

    def select(self, indices: np.ndarray | Sequence[int]) -> SegmentProposals:
        """Select the given proposals, in the given order, and drop memberships that are no longer needed."""
        indices = self._indices(indices)
        level, row, members = self.level[indices], np.zeros(len(indices), np.int32), []
        for l, table in enumerate(self.members):
            here = level == l
            used, row[here] = np.unique(self.row[indices[here]], return_inverse=True)
            members.append(table[used])
        scores = None if self.scores is None else self.scores[indices]
        return SegmentProposals(self.label_maps, members, scores, self.origin, level, row, self.num_labels,
                                self.seconds)

    def first(self, number: int | None) -> SegmentProposals:
        """Select the first ``number`` proposals, or all if it is None."""
        return self if number is None or number >= len(self) else self.select(range(number))

    # -- files ---------------------------------------------------------------------------------------------------
    def save(self, path: str | Path) -> None:
        """Write the project's own format, an ``.npz`` of plain arrays (keys in docs/proposals.md), atomically."""
        arrays = dict(format=np.array(FORMAT_VERSION), size=np.array(self.size), num_labels=np.array(self.num_labels),
                      level=self.level, row=self.row, origin=np.array(self.origin))
        if self.scores is not None:
            arrays['scores'] = self.scores
        if self.seconds is not None:
            arrays['seconds'] = np.array(self.seconds)
        for l, (label_map, table) in enumerate(zip(self.label_maps, self.members)):
            arrays[f'label_map_{l}'] = label_map
            arrays[f'members_{l}'] = table
        write_arrays(path, arrays)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> SegmentProposals:
        """Make proposals from the arrays in a file that :meth:`save` wrote.

        Raises:
            ValueError, TypeError, KeyError: if these are other arrays.
        """
        if int(arrays['format']) != FORMAT_VERSION:
            raise ValueError(f'format version {int(arrays["format"])}, this version reads {FORMAT_VERSION}')
        num_labels = arrays['num_labels'].tolist()
        if max(num_labels, default=0) > MAX_LABELS:
            raise ValueError(f'{max(num_labels)} labels; more than {MAX_LABELS} are not read')
        height, width = arrays['size'].tolist()
        size = check_sides(height, width, 'the image')
        maps = [arrays[f'label_map_{l}'] for l in range(len(num_labels))]
        if any(m.shape != size for m in maps):
            raise ValueError(f'label maps of {[m.shape for m in maps]} in a file of size {size}')
        return cls(maps, [arrays[f'members_{l}'] for l in range(len(maps))], arrays.get('scores'),
                   str(arrays['origin']), arrays['level'], arrays['row'], num_labels,
                   float(arrays['seconds']) if 'seconds' in arrays else None)

    # -- helpers -------------------------------------------------------------------------------------------------
    def _with_maps(self, label_maps: Sequence[np.ndarray], operation: object) -> SegmentProposals:
        result = SegmentProposals(label_maps, self.members, self.scores, self.origin, self.level, self.row,
                                  self.num_labels, self.seconds)
        result._fingerprint = hashlib.sha256(f'{self.fingerprint} {operation}'.encode()).hexdigest()
        return result

    def _indices(self, indices: np.ndarray | Sequence[int] | None) -> np.ndarray:
        everyone = np.arange(len(self))
        return everyone if indices is None else everyone[np.asarray(indices) if len(indices) else []]


def _count_labels(label_map: np.ndarray, table: np.ndarray) -> int:
    if table.dtype == bool:
        return table.shape[1]
    return int(label_map.max()) + 1 if label_map.size else 1
