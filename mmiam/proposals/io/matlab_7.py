"""Reader for MATLAB files of version 7.3, which are HDF5, by h5py."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from mmiam.utils.files import MAX_BYTES

from .matlab_5 import MAX_DEPTH

#: greatest number of bytes that one byte of deflated data can stand for
MAX_RATIO = 1032


def is_matlab_7(head: bytes) -> bool:
    """Return whether a file that begins like this is HDF5; MATLAB puts a header of 512 bytes before it."""
    return b'\x89HDF' in (head[:4], head[512:516])


def read_matlab_7(path: Path) -> dict:
    """Read the variables of a file, by name: structs as dictionaries, cells as lists, everything else as ndarray.

    Raises:
        ImportError: if h5py is missing.
        Exception: whatever error the HDF5 library raises for a damaged file.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError(f'{path} is a MATLAB 7.3 file, which needs h5py: pip install h5py') from None
    with h5py.File(path, 'r') as file:
        return _Reader(file, min(MAX_BYTES, MAX_RATIO * path.stat().st_size)).group(file, ())


class _Reader:
    """Reader that makes structs dictionaries and cells lists, and restores the axes of arrays, which HDF5 reverses.

    HDF5 can declare arrays that take no space in the file, refer to one array a thousand times, and lead to other
    files, by external links, external storage and virtual datasets. Nothing that leads out is followed, and no soft
    link either.
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
            if not name.startswith('#'):  # there, MATLAB keeps what cells refer to
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
            return [self.node(self.file[ref], above) for ref in values.ravel()]  # the cell, column by column
        return np.asarray(values).T
