"""MATLAB files: COB's and MCG's candidates, and CIM's ``maskmat``.

Legend: H, W image size, n proposals.

COB, MCG (``im2prop``, ``im2mcg``): ``superpixels`` (H, W) ids from 1, ``labels`` a cell of n arrays of ids,
``scores`` (n,) descending, ``bboxes`` (n, 4); at the top of the file or inside one struct. CIM: ``maskmat``, a cell
of n masks (H, W). Versions 4 to 7 are read by scipy, 7.3 (HDF5) by h5py.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

from mmiam.utils.files import MAX_BYTES, naming

from ..container import SegmentProposals
from .masks import proposals_from_masks, refuse_other_size
from .mat_structure import MAX_DEPTH, MAX_RATIO, checked_variables


def read_mat(path: str | Path, size: tuple[int, int] | None = None) -> SegmentProposals:
    """Reads a .mat file of either layout.

    Args:
        path (str | Path): The file.
        size (tuple, optional): (H, W) of the image, which the arrays must have.

    Raises:
        ValueError, TypeError, KeyError: if the file is broken or has neither layout.
        ImportError: if the file is of version 7.3 and h5py is missing.
    """
    variables = _load_variables(Path(path))
    candidates = _find(variables, ('superpixels', 'labels'))
    if candidates is not None:
        return _from_superpixels(candidates, size)
    holder = _find(variables, ('maskmat', ))
    if holder is not None:
        return _from_maskmat(holder['maskmat'], size)
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
    scores = found.get('scores')
    if scores is not None:
        scores = np.asarray(scores, np.float64).reshape(-1)
        if len(scores) != len(table):
            raise ValueError(f'{len(table)} proposals but {len(scores)} scores')
    return SegmentProposals([label_map.reshape(superpixels.shape)], [table], scores, 'cob/mcg .mat')


def _from_maskmat(maskmat, size: tuple[int, int] | None) -> SegmentProposals:
    if isinstance(maskmat, np.ndarray) and maskmat.dtype != object:
        masks = list(np.moveaxis(np.atleast_3d(maskmat), 2, 0))  # (H, W, n) instead of a cell
    else:
        masks = _cell(maskmat)
    if masks:
        refuse_other_size(np.shape(masks[0]), size)
    with naming("'maskmat'"):
        return proposals_from_masks((np.asarray(m) > 0 for m in masks), size, origin='cim maskmat')


def _cell(value) -> list:
    """The entries of a MATLAB cell, whatever its shape; a lone array is a cell of one."""
    if isinstance(value, list):
        return value
    if isinstance(value, np.ndarray) and value.dtype == object:
        return list(value.ravel(order='F'))
    return [value]


def _find(variables: dict, names: tuple[str, ...]) -> dict | None:
    """The dictionary that has all the names: the file itself or a struct in it."""
    if all(n in variables for n in names):
        return variables
    for value in variables.values():
        if isinstance(value, dict) and all(n in value for n in names):
            return value
    return None


def _load_variables(path: Path) -> dict:
    with open(path, 'rb') as file:
        head = file.read(516)
    if b'\x89HDF' in (head[:4], head[512:]):  # MATLAB 7.3 puts a header of 512 bytes before the HDF5 file
        return _load_hdf5(path)
    import scipy.io
    try:
        names = checked_variables(path.read_bytes())
        raw = scipy.io.loadmat(str(path), variable_names=names)
    except Exception as error:  # scipy raises whatever its parser stumbles over in a damaged file
        raise ValueError(f'truncated, or not a MATLAB file ({error})') from error
    return {k: _plain(v) for k, v in raw.items() if not k.startswith('__')}


def _plain(value):
    """Structs of scipy as dictionaries; everything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        return {name: value[name].item() for name in value.dtype.names}
    return value


def _load_hdf5(path: Path) -> dict:
    try:
        import h5py
    except ImportError:
        raise ImportError(f'{path} is a MATLAB 7.3 file, which needs h5py: pip install h5py') from None
    try:
        with h5py.File(path, 'r') as file:
            reader = _Hdf5Reader(file, min(MAX_BYTES, MAX_RATIO * path.stat().st_size))
            return reader.group(file, ())
    except Exception as error:  # h5py raises whatever its library stumbles over in a damaged file
        raise ValueError(f'truncated, or not a MATLAB 7.3 file ({error})') from error


class _Hdf5Reader:
    """Structs as dictionaries, cells as lists, arrays with their axes turned back (HDF5 has them reversed).

    HDF5 can state arrays that take no room in the file, name one array a thousand times, and lead to other files: by
    external links, external storage and virtual datasets. Nothing that leads out is followed, soft links neither.
    """

    def __init__(self, file, budget: int) -> None:
        self.file = file
        self.budget = budget  # bytes that may still be unpacked

    def group(self, group, above: tuple) -> dict:
        import h5py
        result = {}
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f'{name!r} is a link to another place or file, which is not followed')
            if not name.startswith('#'):  # where MATLAB keeps what cells refer to
                result[name] = self.node(group[name], above)
        return result

    def node(self, node, above: tuple):
        import h5py
        if not isinstance(node, (h5py.Dataset, h5py.Group)):
            raise ValueError('an entry is neither array nor group')
        if len(above) > MAX_DEPTH or node in above:
            raise ValueError(f'groups or cells nested more than {MAX_DEPTH} deep, or in a circle')
        above = (*above, node)
        if isinstance(node, h5py.Group):
            return self.group(node, above)
        if node.is_virtual or node.external:
            raise ValueError(f'{node.name!r} lies in another file, which is not read')
        self.budget -= node.nbytes
        if self.budget < 0:
            raise ValueError(f'{node.name!r} of {node.nbytes} bytes, more than a file of this size holds')
        if node.attrs.get('MATLAB_empty', 0):
            return np.zeros((0, 0))
        values = node[()]
        if node.dtype == h5py.ref_dtype:
            return [self.node(self.file[ref], above) for ref in values.ravel()]  # column by column of the cell
        return np.asarray(values).T
