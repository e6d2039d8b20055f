"""From the dict of a pipeline to the model's input: image-level labels and proposals, never boxes or masks."""
from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample

from .base import PlainTransform

#: keys of every sample
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
#: further keys that are packed if the sample has them
WEAK_KEYS = ('image_labels', 'instances', 'void_mask', 'saliency_mask', 'tile', 'whole_shape')


@TRANSFORMS.register_module()
class PackWeakInputs(PlainTransform):
    """Transform that packs an image, its image-level labels and its segment proposals.

    ``gt_bboxes`` and ``gt_masks`` cannot pass through it. Ground truth for evaluation (``instances``, ``void_mask``,
    ``saliency_mask``) exists only in test samples and is packed as meta information, which no loss reads.

    Args:
        meta_keys (Sequence[str]): meta information to pack; keys that a sample does not have are left out. The keys in
            ``WEAK_KEYS``, such as ``image_labels``, are always packed if the sample has them.

    ``transform`` returns a dict with ``inputs`` (Tensor uint8 (3, H, W), channels as loaded; floats stay floats) and
    ``data_samples`` (:obj:`DetDataSample`), whose field ``segment_proposals``, if there is one, is the very
    :class:`mmiam.proposals.SegmentProposals` of the sample (not a copy).
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack one sample."""
        sample = DetDataSample()
        for key in dict.fromkeys(self.meta_keys + WEAK_KEYS):
            if key in results:
                sample.set_field(results[key], key, field_type='metainfo')
        if results.get('segment_proposals') is not None:
            sample.set_field(results['segment_proposals'], 'segment_proposals')
        packed = dict(data_samples=sample)
        if 'img' in results:
            packed['inputs'] = image_tensor(results['img'])
        return packed


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """Convert an image (H, W, 3), or a gray one, (H, W) or (H, W, 1), to a contiguous tensor (3, H, W) of its type.

    Raises:
        ValueError: if the number of channels is another, or the values cannot be 0 to 255: integers other than uint8
            (of 16 bits, say), and floats that are infinite or NaN.
    """
    image = np.atleast_3d(image)
    if image.dtype != np.uint8 and not (image.dtype.kind == 'f' and np.isfinite(image).all()):
        raise ValueError(f'an image must be uint8, or finite numbers from 0 to 255, got {image.dtype}'
                         + (' with values that are infinite or no numbers' if image.dtype.kind == 'f' else ''))
    if image.dtype.kind == 'f' and image.size and 0 < image.max() <= 1:
        warnings.warn(f'the highest value of an image is {image.max():.3g}; if its values are from 0 to 1, multiply '
                      'them by 255', stacklevel=2)
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f'an image must be (H, W, 3), or gray (H, W) or (H, W, 1), got {image.shape}; take alpha and '
                         'other channels off')
    return torch.from_numpy(np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)).transpose(2, 0, 1)))
