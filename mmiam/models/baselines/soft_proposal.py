"""Soft proposals: where an image contains objects, judged by how its features differ (Zhu et al., ICCV 2017).

Legend: B images, C channels, H x W feature map, N = H W locations.

Locations are the nodes of a graph. The weight of an edge is the difference between two feature vectors, and falls off
with the distance between their locations:

    w_pq = ||u_p - u_q|| exp(-d_pq^2 / (2 sigma^2)),    D_pq = w_pq / sum_p w_pq,

where d_pq is the distance in cells of the map. A random walk on this graph, M <- D M, gathers at locations that stand
out from their surroundings; M is the soft proposal map.

Sources: Y. Zhu, Y. Zhou, Q. Ye, Q. Qiu, J. Jiao, "Soft Proposal Networks for Weakly Supervised Object
Localization", ICCV 2017; its public code is github.com/yeezhu/SPN.pytorch.
"""
from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def soft_proposal(features: Tensor, sigma_ratio: float = 0.15, num_iters: int | None = 20,
                  tolerance: float = 1e-4) -> Tensor:
    """Compute the soft proposal map of each feature map by power iteration from the uniform map, without gradients.

    Args:
        features (Tensor): feature maps, has shape (B, C, H, W).
        sigma_ratio (float): sigma in units of the map's side, sqrt(H W) for maps that are not square. The default,
            0.15 of the side, is how we read the publication's 0.15 N for an N x N map. The public code multiplies
            0.15 by the number of locations, so that distance hardly matters; ``sigma_ratio=0.15 * side`` does the
            same.
        num_iters (int | None): maximum number of steps; 20 as in the public code. None gives the walk's
            stationary distribution directly: since the weights are symmetric, it is each location's sum of
            weights divided by the sum of all.
        tolerance (float): the walk of an image ends when a step changes its map by less than this (L2 norm); 1e-4
            as in the public code.

    Returns:
        Tensor: maps that sum to 1, has shape (B, H, W), at least float32. Uniform if all features are equal.

    Raises:
        ValueError: if ``features`` is not four-dimensional or ``sigma_ratio`` is not positive.
    """
    if features.dim() != 4:
        raise ValueError(f'features must have shape (B, C, H, W), got {tuple(features.shape)}')
    if not sigma_ratio > 0:
        raise ValueError(f'sigma_ratio must be positive, got {sigma_ratio}')
    batch, _, height, width = features.shape
    weights = edge_weights(features, sigma_ratio)
    degree = weights.sum(1, keepdim=True)  # (B, 1, N); the weights are symmetric
    uniform = weights.new_full((batch, height * width), 1 / (height * width))
    if num_iters is None:
        total = degree.sum(2)
        walk = torch.where(total > 0, degree[:, 0] / total.clamp(min=torch.finfo(total.dtype).tiny), uniform)
        return walk.view(batch, height, width)
    transition = torch.where(degree > 0, weights / degree.clamp(min=torch.finfo(degree.dtype).tiny),
                             uniform[:, :, None])
    walk = uniform
    for _ in range(num_iters):
        step = torch.bmm(transition, walk[:, :, None])[:, :, 0]
        moving = (step - walk).norm(dim=1, keepdim=True) >= tolerance  # for each image separately
        if not moving.any():
            break
        walk = torch.where(moving, step / step.sum(1, keepdim=True), walk)
    return walk.view(batch, height, width)


def edge_weights(features: Tensor, sigma_ratio: float) -> Tensor:
    """Compute w_pq for all pairs of locations, row-major: (B, C, H, W) -> (B, N, N), symmetric, at least float32."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    height, width = features.shape[-2:]
    vectors = features.to(dtype).flatten(2).transpose(1, 2)
    # not by matrix product, which leaves a distance of sqrt(rounding error) between equal vectors
    difference = torch.cdist(vectors, vectors, compute_mode='donot_use_mm_for_euclid_dist')
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    places = torch.stack([ys.flatten(), xs.flatten()], 1).to(difference)
    squared = (places[:, None] - places[None]).square().sum(2)
    sigma = sigma_ratio * (height * width)**0.5
    return difference * torch.exp(-squared / (2 * sigma**2))
