"""Measures matching of Peak Response Maps with proposals against the dense computation (Sec. 3.2).

    python tools/analysis_tools/benchmark_ops_matching.py

1,500 proposals made from a synthetic image, 5 maps, 448 x 448, one thread. Dense: every mask expanded, its 5x5
morphological gradient by OpenCV, both multiplied with the maps; in chunks, because 1,500 float masks do not
fit. Times are medians, taken in turns.
"""
from __future__ import annotations

import argparse
import json
import time
from statistics import median

import cv2
import numpy as np
import torch

from mmiam.proposals import SegmentProposals, match_proposals
from mmiam.proposals.generators import SelectiveMerging


def synthetic_proposals(size: int, count: int) -> SegmentProposals:
    """``count`` proposals of a random image of texture patches, with about as many superpixels as a photograph."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 120, (size // 24 + 1, size // 24 + 1, 3)).repeat(24, 0).repeat(24, 1)[:size, :size]
    image = (cells + rng.integers(0, 30, (size, size, 3))).astype(np.uint8)
    proposals = SelectiveMerging(area_range=(1e-4, 0.98), duplicate_iou=0.999, max_proposals=count)(image)
    if len(proposals) < count:
        raise RuntimeError(f'only {len(proposals)} of {count} proposals could be made')
    return proposals


def dense_scores(prms: torch.Tensor, proposals: SegmentProposals, alpha: float = 0.8,
                 chunk: int = 50) -> torch.Tensor:
    """alpha <M, S> + <M, contour(S)> with expanded masks: (P, n)."""
    flat, parts = prms.flatten(1), []
    for start in range(0, len(proposals), chunk):
        masks = torch.from_numpy(proposals.masks(range(start, min(start + chunk, len(proposals)))))
        contours = torch.from_numpy(np.stack([
            cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) for mask in masks.byte().numpy()]))
        parts.append(flat @ (alpha * masks.flatten(1).to(flat) + contours.flatten(1).to(flat)).T)
    return torch.cat(parts, 1)


def benchmark_matching(num_proposals: int = 1500, num_maps: int = 5, size: int = 448, repeats: int = 3) -> dict:
    """Times and compares both computations, on one thread (matching uses one; the number is set back afterwards).

    Returns:
        dict: ``speedup`` (dense time / time with nothing cached), ``speedup_cached`` (the same image again),
        ``dense_ms``, ``matching_ms``, ``cached_ms``, ``memory_ratio`` (bytes of boolean masks / bytes of the
        proposals and all that is cached with them), ``max_rel_error`` (largest difference from the dense scores in
        float64, as a share of the largest score).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _benchmark(synthetic_proposals(size, num_proposals), num_maps, size, repeats)
    finally:
        torch.set_num_threads(threads)


def _benchmark(proposals: SegmentProposals, num_maps: int, size: int, repeats: int) -> dict:
    prms = torch.rand(num_maps, size, size, generator=torch.Generator().manual_seed(0))**8
    prms /= prms.sum((1, 2), keepdim=True)
    times: dict[str, list[float]] = dict(dense=[], matching=[], cached=[])
    for _ in range(repeats):
        proposals.cache.clear()
        for name, function in (('matching', match_proposals), ('cached', match_proposals), ('dense', dense_scores)):
            start = time.perf_counter()
            function(prms, proposals)
            times[name].append(time.perf_counter() - start)
    dense, matching, cached = (median(times[name]) for name in ('dense', 'matching', 'cached'))
    exact = dense_scores(prms.double(), proposals)
    error = (match_proposals(prms, proposals)[0].double() - exact).abs().max() / exact.max()
    held = proposals.nbytes + sum(_bytes(value) for value in proposals.cache.values())
    return dict(speedup=dense / matching, speedup_cached=dense / cached, dense_ms=dense * 1e3,
                matching_ms=matching * 1e3, cached_ms=cached * 1e3,
                memory_ratio=len(proposals) * size * size / held, max_rel_error=float(error))


def _bytes(value) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    return value.pixels.nbytes + value.set_ids.nbytes + sum(t.nbytes for t in value.tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    print(json.dumps(benchmark_matching(repeats=args.repeats), indent=2))


if __name__ == '__main__':
    main()
