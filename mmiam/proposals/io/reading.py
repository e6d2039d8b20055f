"""One entry point for all formats."""
from __future__ import annotations

from pathlib import Path

from mmiam.utils.files import naming

from ..container import SegmentProposals
from .arrays import read_mask_folder, read_npz
from .json_files import read_json_proposals
from .masks import refuse_other_size
from .mat import read_mat

#: kind of file -> reader; it takes the path and the image's (H, W) or None, to compare sizes before allocating memory
READERS = dict(npz=read_npz, mat=read_mat, json=read_json_proposals, folder=read_mask_folder)


def known_suffixes() -> list[str]:
    """List the suffixes of readable files, in the order in which they are looked for."""
    return [f'.{kind}' for kind in READERS if kind != 'folder']


def find_proposal_file(folder: str | Path, stem: str) -> Path:
    """Find the proposal file (or folder of masks) of an image.

    Raises:
        FileNotFoundError: if there is none.
    """
    for suffix in (*known_suffixes(), ''):
        path = Path(folder) / f'{stem}{suffix}'
        if path.exists():
            return path
    raise FileNotFoundError(f'no proposals of {stem!r} in {folder}: looked for {stem} with '
                            f'{", ".join(known_suffixes())} and for a folder of masks')


def load_proposals(path: str | Path, size: tuple[int, int] | None = None, format: str = 'auto') -> SegmentProposals:
    """Read the proposals of one image, in any known format. Nothing is ever unpickled.

    Args:
        path (str | Path): a file, or a folder of mask images.
        size (tuple, optional): (H, W) of the image, which the file must have; needed for a JSON list without entries.
        format (str): a key of :data:`READERS`, or 'auto' to go by the suffix. The layouts within a kind of file are
            distinguished by their keys.

    Returns:
        SegmentProposals: at the size of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, truncated, of another size or of an unknown kind; names file and cause.
        ImportError: if the file is of MATLAB 7.3 and h5py is missing.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'no proposal file {path}')
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f'{path}: the file is empty')
    if format == 'auto' and path.is_file() and path.suffix.lower() not in known_suffixes():
        raise ValueError(f'{path}: unknown kind of proposal file; known are {", ".join(known_suffixes())} '
                         'and folders of mask images')
    if format == 'auto':
        format = 'folder' if path.is_dir() else path.suffix.lower()[1:]
    if format not in READERS:
        raise ValueError(f'format must be one of {("auto", *READERS)}, got {format!r}')
    with naming(path):
        proposals = READERS[format](path, size)
        refuse_other_size(proposals.size, size)
        return proposals
