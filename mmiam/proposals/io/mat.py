"""MATLAB files: the candidates of COB and MCG, and CIM's ``maskmat``.

Legend: H, W image size, n proposals.

COB and MCG (``im2prop``, ``im2mcg``) have ``superpixels``, ids from 1 (H, W), ``labels``, a cell of n arrays of ids,
``scores`` (n,), descending, and ``bboxes`` (n, 4), either at the top level of the file or inside one struct. CIM has
``maskmat``, a cell of n masks (H, W). Versions 5 to 7 are read by :mod:`.matlab_5`, 7.3 by h5py, 4 by scipy.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io

from mmiam.utils.files import naming

from ..container import SegmentProposals
from .masks import proposals_from_masks, refuse_other_size
from .matlab_5 import is_matlab_5, read_matlab_5
from .matlab_7 import is_matlab_7, read_matlab_7


def read_mat(path: str | Path, size: tuple[int, int] | None = None) -> SegmentProposals:
    """Read a .mat file in either layout.

    Args:
        path (str | Path): the file.
        size (tuple, optional): (H, W) of the image, which the arrays must have.

    Raises:
        ValueError, TypeError, KeyError: if the file is broken or has neither layout.
        ImportError: if the file is of version 7.3 and h5py is missing.
    """
    variables = _load_variables(Path(path))
    if found := _find(variables, 'superpixels', 'labels'):
        return _from_superpixels(found, size)
    if found := _find(variables, 'maskmat'):
        return _from_maskmat(found['maskmat'], size)
    raise ValueError(f"neither 'superpixels' and 'labels' (COB, MCG) nor 'maskmat' (CIM) in it; it holds "
                     f'{sorted(variables)}')


def _from_superpixels(found: dict, size: tuple[int, int] | None) -> SegmentProposals:
    superpixels, labels = np.asarray(found['superpixels']), _cell(found['labels'])
    if superpixels.ndim != 2 or not superpixels.size:
        raise ValueError(f"'superpixels' must be (H, W), got {superpixels.shape}")
    refuse_other_size(superpixels.shape, size)
    ids, label_map = np.unique(superpixels.astype(np.int64), return_inverse=True)
    table = np.zeros((len(labels), len(ids)), bool)
    for i, cell in enumerate(labels):
        wanted = np.asarray(cell).reshape(-1).astype(np.int64)
        position = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
        if (wanted < 0).any() or (ids[position] != wanted).any():
            raise ValueError(f'proposal {i} names superpixels that do not occur (ids {wanted.min()}..{wanted.max()}, '
                             f'the map has {ids[0]}..{ids[-1]})')
        table[i, position] = True
    scores = None if found.get('scores') is None else np.ravel(found['scores'])
    return SegmentProposals([label_map.reshape(superpixels.shape)], [table], scores, 'cob/mcg .mat')


def _from_maskmat(maskmat, size: tuple[int, int] | None) -> SegmentProposals:
    if isinstance(maskmat, np.ndarray):
        maskmat = list(np.moveaxis(np.atleast_3d(maskmat), 2, 0))  # (H, W, n) instead of a cell
    masks = _cell(maskmat)
    if masks:
        refuse_other_size(np.shape(masks[0]), size)
    with naming("'maskmat'"):
        return proposals_from_masks((np.asarray(m) > 0 for m in masks), size, origin='cim maskmat')


def _cell(value) -> list:
    """Return the entries of a MATLAB cell; a single array counts as a cell of one."""
    return value if isinstance(value, list) else [value]


def _find(variables: dict, *names: str) -> dict | None:
    """Find the dictionary that has all the names: the file itself, or a struct in it."""
    holders = [variables, *(value for value in variables.values() if isinstance(value, dict))]
    return next((holder for holder in holders if all(name in holder for name in names)), None)


def _load_variables(path: Path) -> dict:
    with open(path, 'rb') as file:
        head = file.read(516)
    try:
        if is_matlab_7(head):
            return read_matlab_7(path)
        if is_matlab_5(head):
            return read_matlab_5(path.read_bytes())
        return {name: value for name, value in scipy.io.loadmat(str(path)).items() if not name.startswith('__')}
    except ImportError:
        raise
    except Exception as error:  # scipy and h5py raise all sorts of errors for damaged files
        raise ValueError(f'truncated, or not a MATLAB file ({error})') from error
