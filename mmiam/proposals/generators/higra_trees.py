"""Merging trees by higra, an optional library of hierarchical segmentation.

Legend: K superpixels, E pairs of touching superpixels.
"""
from __future__ import annotations

import numpy as np

from .merging import MergeTree

CRITERIA = ('area', 'volume', 'dynamics', 'average')


def higra_tree(areas: np.ndarray, pairs: np.ndarray, length: np.ndarray, strength: np.ndarray,
               criterion: str) -> MergeTree:
    """A hierarchy over superpixels by the mean edge strength between them.

    Args:
        areas (ndarray): (K,) sizes of the superpixels.
        pairs (ndarray): (E, 2) touching superpixels.
        length (ndarray): (E,) boundary lengths.
        strength (ndarray): (E,) sums of edge strength along the boundaries.
        criterion (str): 'area', 'volume' or 'dynamics': watershed hierarchy by that attribute; 'average': binary
            partition tree by average linkage.

    Returns:
        MergeTree: the tree.

    Raises:
        ImportError: if higra is missing.
        ValueError: for an unknown criterion.
    """
    if criterion not in CRITERIA:
        raise ValueError(f'criterion must be one of {CRITERIA}, got {criterion!r}')
    try:
        import higra
    except ImportError:
        raise ImportError('this merging tree needs higra: pip install higra') from None
    if not len(pairs):
        return MergeTree(len(areas), np.zeros((0, 2), np.int64), np.zeros(len(areas)))
    graph = higra.UndirectedGraph(len(areas))
    graph.add_edges(pairs[:, 0], pairs[:, 1])
    weights = strength / length
    if criterion == 'average':
        tree, height = higra.binary_partition_tree_average_linkage(graph, weights, length)
    else:
        build = getattr(higra, f'watershed_hierarchy_by_{criterion}')
        options = {} if criterion == 'dynamics' else dict(vertex_area=areas)
        tree, height = build(graph, weights, **options)
    return _binary(len(areas), np.asarray(tree.parents()), np.asarray(height, np.float64))


def _binary(num_leaves: int, parents: np.ndarray, height: np.ndarray) -> MergeTree:
    """A tree with two children a region from one with any number: further children join one by one.

    Args:
        num_leaves (int): K.
        parents (ndarray): (N,) parents; the root stands last and is its own.
        height (ndarray): (N,) height of each node.
    """
    children: list[tuple[int, int]] = []
    heights = [0.] * num_leaves
    region = np.arange(len(parents))  # what stands for a node of the given tree
    below = np.split(np.argsort(parents[:-1], kind='stable'), np.cumsum(np.bincount(parents[:-1])[:-1]))
    for node in range(num_leaves, len(parents)):
        joined = region[below[node][0]]
        for other in below[node][1:]:
            children.append((joined, region[other]))
            heights.append(height[node])
            joined = num_leaves + len(children) - 1
        region[node] = joined
    return MergeTree(num_leaves, np.array(children, np.int64).reshape(-1, 2), np.maximum.accumulate(heights))
