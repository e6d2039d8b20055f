"""Segment proposals in a data pipeline: loading them, and giving them the geometry of the image.

Legend: H, W size of the original image; H', W' size after Resize.
"""
from __future__ import annotations

from pathlib import Path

from mmdet.registry import TRANSFORMS

from mmiam.proposals import SegmentProposals
from mmiam.proposals.io import load_proposals

from .base import PlainTransform


@TRANSFORMS.register_module()
class LoadSegmentProposals(PlainTransform):
    """Transform that loads the class-agnostic segment proposals of an image, by the stem of its file name.

    Required keys: ``img_path``, ``ori_shape`` (from LoadImageFromFile). Read if present: ``proposal_name``, a path
    below ``proposal_root`` without suffix, which replaces the stem (for images in several folders). Added key:
    ``segment_proposals`` (:class:`~mmiam.proposals.SegmentProposals` of the original size).

    Args:
        proposal_root (str): folder with one file per image.
        file_suffix (str): what follows the stem of the image, by default '.npz', which tools/proposals writes. Other
            formats of :func:`mmiam.proposals.io.load_proposals` also work, but are slower ('' for folders of masks).
        max_proposals (int, optional): keep only the first ones; by default all.
        on_missing (str): 'error', or 'empty' to go on without proposals if an image has no file.

    Raises:
        FileNotFoundError: if the file is missing and ``on_missing`` is 'error'.
        ValueError: if the file is broken, or not of the size of the image.
    """

    def __init__(self, proposal_root: str, file_suffix: str = '.npz', max_proposals: int | None = None,
                 on_missing: str = 'error') -> None:
        if on_missing not in ('error', 'empty'):
            raise ValueError(f"on_missing must be 'error' or 'empty', got {on_missing!r}")
        self.proposal_root = str(proposal_root)
        self.file_suffix = file_suffix
        self.max_proposals = max_proposals
        self.on_missing = on_missing

    def transform(self, results: dict) -> dict:
        """Add ``segment_proposals``."""
        size = tuple(results['ori_shape'][:2])
        results['segment_proposals'] = self._load(self.proposal_path(results), size, results['img_path'])
        return results

    def proposal_path(self, results: dict) -> Path:
        """Return the file of an image's proposals."""
        name = results.get('proposal_name') or Path(results['img_path']).stem
        return Path(self.proposal_root, name + self.file_suffix)

    def _load(self, path: Path, size: tuple[int, int], image: str) -> SegmentProposals:
        if not path.exists():
            if self.on_missing == 'empty':
                return SegmentProposals.empty(size, origin='missing')
            raise FileNotFoundError(f'no proposals for {image}: {path} does not exist. Make them with '
                                    "tools/proposals/generate.py, or set on_missing='empty'")
        try:
            return load_proposals(path, size=size).first(self.max_proposals)
        except ValueError as error:
            raise ValueError(f'{error} (proposals for {image})') from error


@TRANSFORMS.register_module()
class AlignSegmentProposals(PlainTransform):
    """Transform that repeats mmdet's Resize and RandomFlip of the image on the proposals; follows both.

    Required keys: ``segment_proposals``, ``img_shape``. Read if present: ``flip``, ``flip_direction``,
    ``scale_factor``. Since mmdet does not record crops in the results, they cannot be repeated, and are refused rather
    than ignored.

    Raises:
        ValueError: if a side of the image differs by more than a pixel from what ``scale_factor`` says (a crop).
    """

    def transform(self, results: dict) -> dict:
        """Replace ``segment_proposals`` by the aligned ones."""
        proposals = results['segment_proposals']
        size = tuple(results['img_shape'][:2])
        self._refuse_crops(proposals.size, size, results.get('scale_factor'))
        proposals = proposals.resize(size)
        if results.get('flip'):
            proposals = proposals.flip(results.get('flip_direction') or 'horizontal')
        results['segment_proposals'] = proposals
        return results

    @staticmethod
    def _refuse_crops(before: tuple[int, int], after: tuple[int, int], scale_factor) -> None:
        if scale_factor is None:
            return
        expected = (before[0] * scale_factor[1], before[1] * scale_factor[0])
        if abs(expected[0] - after[0]) > 1 or abs(expected[1] - after[1]) > 1:
            raise ValueError(f'the image is {after} (H, W), but resizing {before} by scale_factor {scale_factor} '
                             f'gives {tuple(round(e) for e in expected)}: AlignSegmentProposals follows Resize and '
                             'RandomFlip, not crops or padding')
