"""The project's own proposal file: an .npz without pickled objects, written atomically.

Keys: ``format`` (version), ``size`` (H, W), ``num_labels`` (L,), ``level`` and ``row`` (n,), ``origin`` (text),
``scores`` (n,) and ``seconds`` where there are any, and per level l ``label_map_l`` (H, W) and ``members_l``
(n_l, ceil(K_l/8)).
"""
from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from mmiam.utils.files import atomic_write

from .container import SegmentProposals

FORMAT_VERSION = 1
#: of all arrays of a file when unpacked; more is a damaged file, or one made to fill the memory (our choice)
MAX_BYTES = 2**31
#: of a level, for the same reason: a table without rows may state any number
MAX_LABELS = 2**24


def save_proposals(proposals: SegmentProposals, path: str | Path) -> None:
    """Writes one image's proposals to ``path`` (``.npz``)."""
    arrays = dict(format=np.array(FORMAT_VERSION), size=np.array(proposals.size),
                  num_labels=np.array(proposals.num_labels), level=proposals.level, row=proposals.row,
                  origin=np.array(proposals.origin))
    if proposals.scores is not None:
        arrays['scores'] = proposals.scores
    if proposals.seconds is not None:
        arrays['seconds'] = np.array(proposals.seconds)
    for l, (label_map, table) in enumerate(zip(proposals.label_maps, proposals.members)):
        arrays[f'label_map_{l}'] = label_map
        arrays[f'members_{l}'] = table
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    atomic_write(path, buffer.getvalue())


def read_proposals(path: str | Path) -> SegmentProposals:
    """Reads a file of :func:`save_proposals`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, truncated or not such a file; the message names file and cause.
    """
    return proposals_from_arrays(read_arrays(path), path)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; never unpickles. Raises as :func:`read_proposals` does."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no proposal file {path}')
    if not path.stat().st_size:
        raise ValueError(f'{path}: the file is empty')
    if not zipfile.is_zipfile(path):
        raise ValueError(f'{path}: truncated, or not an .npz file')
    try:
        with zipfile.ZipFile(path) as archive:
            stated = sum(info.file_size for info in archive.infolist())
        if stated > MAX_BYTES:
            raise ValueError(f'{stated} bytes when unpacked; more than {MAX_BYTES} are not read')
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # zipfile and numpy raise whatever they stumble over in a damaged file
        raise ValueError(f'{path}: truncated, or not an .npz of plain arrays ({error})') from error
    foreign = [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]
    if foreign:
        raise ValueError(f'{path}: {foreign[0]!r} in it is no array')
    return arrays


def proposals_from_arrays(arrays: dict[str, np.ndarray], path: str | Path) -> SegmentProposals:
    """Builds the container from the arrays of a file; ``path`` is for the error message."""
    try:
        if int(arrays['format']) != FORMAT_VERSION:
            raise ValueError(f'format version {int(arrays["format"])}, this version reads {FORMAT_VERSION}')
        num_labels = arrays['num_labels'].tolist()
        if max(num_labels, default=0) > MAX_LABELS:
            raise ValueError(f'{max(num_labels)} labels; more than {MAX_LABELS} are not read')
        size = tuple(arrays['size'].tolist())
        maps = [arrays[f'label_map_{l}'] for l in range(len(num_labels))]
        if any(m.shape != size for m in maps):
            raise ValueError(f'label maps of {[m.shape for m in maps]} in a file of size {size}')
        return SegmentProposals(maps, [arrays[f'members_{l}'] for l in range(len(maps))], arrays.get('scores'),
                                str(arrays['origin']), arrays['level'], arrays['row'], num_labels,
                                float(arrays['seconds']) if 'seconds' in arrays else None)
    except KeyError as error:
        raise ValueError(f'{path}: no key {error.args[0]!r}; keys found: {sorted(arrays)}') from error
    except (ValueError, TypeError, IndexError, OverflowError, MemoryError, SystemError) as error:  # no valid text
        raise ValueError(f'{path}: {error}') from error

