"""Ground truth for evaluation: instances, and salient objects."""
from __future__ import annotations

from mmdet.registry import TRANSFORMS

from mmiam.utils.rle import decode_masks, encode_masks

from ..mask_files import load_saliency_mask, load_voc_instances
from .base import PlainTransform


@TRANSFORMS.register_module()
class LoadVOCInstances(PlainTransform):
    """Transform that reads VOC's two mask files of an image, for evaluation.

    A sample without mask paths passes unchanged: training samples (which name no mask file), and single images from an
    inferencer.

    Required keys: none. Read if present: ``semantic_mask_path``, ``instance_mask_path``, ``mask_labels``,
    ``num_mask_classes``, ``ori_shape``.

    Added keys, in pixels of the original image: ``instances`` (list of dict: ``bbox`` xyxy, ``bbox_label``,
    ``mask`` RLE, ``ignore_flag``) and ``void_mask`` (RLE of the pixels marked 255, or None).

    Raises:
        FileNotFoundError: if a mask file is missing.
        ValueError: if a mask is damaged, or its size is not that of the image.
    """

    #: lets a data set check the files once, at the start
    reads_instance_masks = True

    def transform(self, results: dict) -> dict:
        """Add the ground truth to ``results``."""
        if 'semantic_mask_path' not in results or 'instance_mask_path' not in results:
            return results
        paths = results['semantic_mask_path'], results['instance_mask_path']
        labels = results.get('mask_labels') or {index: index - 1 for index in range(1, 255)}
        instances, void_mask = load_voc_instances(*paths, labels, results.get('ori_shape'),
                                                  results.get('num_mask_classes'))
        results.update(instances=instances, void_mask=void_mask)
        return results


@TRANSFORMS.register_module()
class LoadSaliencyMask(PlainTransform):
    """Transform that reads the mask file of an image.

    A sample without a mask path passes unchanged, such as single images from an inferencer.

    Required keys: none. Read if present: ``saliency_mask_path``, ``ori_shape``. Added key: ``saliency_mask`` (RLE, in
    pixels of the original image).

    Raises:
        FileNotFoundError: if the mask file is missing.
        ValueError: if it is damaged, not of the image's size, or not a mask (see :func:`load_saliency_mask`).
    """

    def transform(self, results: dict) -> dict:
        """Add the ground truth to ``results``."""
        if 'saliency_mask_path' in results:
            mask = load_saliency_mask(results['saliency_mask_path'], results.get('ori_shape'))
            results['saliency_mask'] = encode_masks(mask[None])[0]
        return results


@TRANSFORMS.register_module()
class InstancesToSaliencyMask(PlainTransform):
    """Transform that takes the union of the ground-truth instances as the salient object; follows LoadVOCInstances.

    A sample without ``instances`` passes unchanged. Required keys: none. Read if present: ``instances``, ``ori_shape``.
    Added key: ``saliency_mask`` (RLE). Void pixels belong to no instance; they are marked in ``void_mask``.
    """

    def transform(self, results: dict) -> dict:
        """Add the ground truth to ``results``."""
        if 'instances' in results:
            size = tuple(results['ori_shape'][:2])
            masks = decode_masks([instance['mask'] for instance in results['instances']], size)
            results['saliency_mask'] = encode_masks(masks.any(0)[None])[0]
        return results
