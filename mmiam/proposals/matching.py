"""Matching of Peak Response Maps with segment proposals, Sec. 3.2 of the paper.

Legend: P maps, n proposals, K labels of a level, T distinct window sets, H, W image size.

    f_ij = alpha * <M_i, S_j> + <M_i, contour(S_j)>

where contour(S) is the 5x5 morphological gradient of the mask. No mask is expanded: <M, S> is the map's mass per
superpixel times the membership table, and <M, contour(S)> is its mass per window set, summed over the sets that S
cuts (see :mod:`mmiam.proposals.window_sets`). Both are exact.
"""
from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .container import SegmentProposals
from .window_sets import WindowSets, group_by_window_set


def match_proposals(prms: Tensor, proposals: SegmentProposals, alpha: float = 0.8,
                    contour_size: int = 5) -> tuple[Tensor, Tensor]:
    """Score every proposal against every Peak Response Map.

    Args:
        prms (Tensor): maps of shape (P, H, W), non-negative and with sum 1, at the size of the proposals.
        proposals (SegmentProposals): n proposals of size (H, W). Whatever depends only on the image is kept in
            ``proposals.cache``, so that a second call with other maps is faster.
        alpha (float): weight of the mass inside the proposal. Not stated in the paper; 0.8 as in PRM's demo.
        contour_size (int): side of the structuring element of the contour; 5 as in PRM's code.

    Returns:
        tuple[Tensor, Tensor]: scores f (P, n) and mass <M, S> (P, n), with the type and on the device of ``prms``.

    Raises:
        ValueError: if the maps are not (P, H, W) at the size of the proposals.
    """
    if prms.ndim != 3 or tuple(prms.shape[1:]) != proposals.size:
        raise ValueError(f'prms must be (P, {proposals.size[0]}, {proposals.size[1]}) as the proposals are, '
                         f'got {tuple(prms.shape)}')
    # Sums over superpixels are computed in float64 on the CPU: only a few small maps are moved, and no mask.
    maps = prms.detach().to('cpu', torch.float64).flatten(1).T.contiguous().numpy()
    mass = np.zeros((maps.shape[1], len(proposals)))
    contour = np.zeros_like(mass)
    for l, positions, membership in proposals.by_level():
        per_label = _bin(maps, proposals.label_maps[l].ravel(), proposals.num_labels[l])
        mass[:, positions] = per_label.T @ membership.T.astype(np.float64)
        sets = _window_sets(proposals, l, contour_size)
        per_set = _bin(maps[sets.pixels], sets.set_ids, len(sets))
        contour[:, positions] = _sum_over_cut_sets(per_set, sets, membership)
    return tuple(torch.from_numpy(values).to(prms) for values in (alpha * mass + contour, mass))


def proposal_iou(masks: Tensor | np.ndarray, proposals: SegmentProposals, ignore: np.ndarray | None = None) -> Tensor:
    """Compute the exact IoU of every proposal with every mask, without expanding proposals.

    Args:
        masks (Tensor | ndarray): bool, has shape (P, H, W), at the size of the proposals.
        proposals (SegmentProposals): n proposals of size (H, W).
        ignore (ndarray, optional): bool (H, W), pixels that are left out of intersections and unions.

    Returns:
        Tensor: has shape (P, n), float64 on the CPU; 0 where both are empty.

    Raises:
        ValueError: if the masks are not (P, H, W) at the size of the proposals.
    """
    if masks.ndim != 3 or tuple(masks.shape[1:]) != proposals.size:
        raise ValueError(f'masks must be (P, {proposals.size[0]}, {proposals.size[1]}) as the proposals are, '
                         f'got {tuple(masks.shape)}')
    # the last one is the whole image: the part of each proposal that counts
    counted = np.ones((1, *proposals.size), bool) if ignore is None else ~ignore[None]
    flat = np.concatenate([torch.as_tensor(masks).detach().cpu().numpy() & counted, counted])
    flat = np.ascontiguousarray(flat.reshape(len(flat), -1).T, np.float64)
    inside = np.zeros((flat.shape[1], len(proposals)))
    for l, positions, membership in proposals.by_level():
        per_label = _bin(flat, proposals.label_maps[l].ravel(), proposals.num_labels[l])
        inside[:, positions] = per_label.T @ membership.T.astype(np.float64)
    union = flat.sum(0)[:-1, None] + inside[-1:] - inside[:-1]
    return torch.from_numpy(inside[:-1] / np.maximum(union, 1))


def _window_sets(proposals: SegmentProposals, level: int, contour_size: int) -> WindowSets:
    key = ('window_sets', level, contour_size)
    if key not in proposals.cache:
        proposals.cache[key] = group_by_window_set(proposals.label_maps[level], contour_size)
    return proposals.cache[key]


def _bin(maps: np.ndarray, bins: np.ndarray, num_bins: int) -> np.ndarray:
    """Sum the rows of (m, P), each a pixel in all maps, over the pixels of each bin: (num_bins, P)."""
    return _sum_rows(maps, bins, np.arange(len(bins) + 1), num_bins)


def _sum_rows(rows: np.ndarray, targets: np.ndarray, starts: np.ndarray, num_targets: int) -> np.ndarray:
    """Add row i of (m, P) to ``targets[starts[i]:starts[i + 1]]``: (num_targets, P).

    This is a product with a sparse matrix, whose column i marks the targets of row i, so that all P values of a row are
    read together. Map by map, thousands of ragged masks take two to three times as long.
    """
    matrix = sparse.csc_matrix((np.ones(len(targets)), targets, starts), shape=(num_targets, len(rows)))
    return matrix @ rows


def _sum_over_cut_sets(per_set: np.ndarray, sets: WindowSets, membership: np.ndarray) -> np.ndarray:
    """Sum mass per set (T, P) over the sets that each proposal cuts: (P, n).

    A proposal cuts a set if it contains some of its labels but not all. The test runs on 64 proposals at once, as
    bitwise or / and over the labels of a set. Its bits are then added up by bytes, that is, for eight proposals at a
    time: mass is first collected for each of the 256 byte values, and then spread over the eight proposals by the bits
    of these values.
    """
    words = _words_by_label(membership)
    num_bytes = words.shape[1] * 8
    by_value = np.zeros((num_bytes * 256, per_set.shape[1]))
    start = 0
    for table in sets.tables:
        if not len(table):
            continue
        some = words[table[:, 0]]
        every = some.copy()
        for column in table.T[1:]:
            labels = words[column]
            some |= labels
            every &= labels
        some &= ~every
        cut = some.view(np.uint8)
        set_index, byte = np.nonzero(cut)
        starts = np.searchsorted(set_index, np.arange(len(table) + 1))
        by_value += _sum_rows(per_set[start:start + len(table)], byte * 256 + cut[set_index, byte], starts,
                              num_bytes * 256)
        start += len(table)
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float64)
    spread = by_value.T.reshape(-1, 256) @ bits
    return spread.reshape(per_set.shape[1], num_bytes * 8)[:, :membership.shape[0]]


def _words_by_label(membership: np.ndarray) -> np.ndarray:
    """Pack which proposals contain each label into 64-bit words: bool (n, K) -> uint64 (K, ceil(n/64))."""
    bits = np.packbits(membership, axis=0).T
    width = -(-bits.shape[1] // 8) * 8
    return np.ascontiguousarray(np.pad(bits, ((0, 0), (0, width - bits.shape[1])))).view(np.uint64)
