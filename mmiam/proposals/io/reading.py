"""One entrance for all formats."""
from __future__ import annotations

from pathlib import Path

from ..container import SegmentProposals

SUFFIXES = ('.npz', '.mat', '.json')


def find_proposal_file(folder: str | Path, stem: str) -> Path:
    """The proposal file (or folder of masks) of an image.

    Raises:
        FileNotFoundError: if there is none.
    """
    for suffix in (*SUFFIXES, ''):
        path = Path(folder) / f'{stem}{suffix}'
        if path.exists():
            return path
    raise FileNotFoundError(f'no proposals of {stem!r} in {folder}: looked for {stem} with {", ".join(SUFFIXES)} '
                            'and for a folder of masks')


def load_proposals(path: str | Path, size: tuple[int, int] | None = None) -> SegmentProposals:
    """Reads a proposal file.

    Args:
        path (str | Path): The file.
        size (tuple, optional): (H, W) of the image, checked where given.

    Returns:
        SegmentProposals: at the size of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is broken or of another size; file and cause are named.
    """
    proposals = SegmentProposals.load(path)
    if size is not None and tuple(size) != proposals.size:
        raise ValueError(f'{path}: proposals of {proposals.size} (H, W), the image is {tuple(size)}')
    return proposals
