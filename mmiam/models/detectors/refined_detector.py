"""Any instance segmenter of mmdet, its masks refined by the post-processor of this package.

Legend: n instances of one image, H0 x W0 size of the masks (the original image's unless ``rescale=False``).
"""
from __future__ import annotations

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from .original_image import restore_image


class RefinedMasks:
    """Mixin before a detector's class: ``predict`` as there, then the masks are refined.

    Args:
        refiner (dict): a post-processor with ``foreground(logits, image)``: :class:`ConvCRFPostProc`. Of its settings
            those of the masks count (``crf``, ``mask_thr``, ``max_side``); scores, boxes, labels and their number
            stay the detector's.
        certainty (float): probability that a pixel of a binary mask is on the right side, in (0.5, 1); 0.8, our
            choice: the CRF can then turn a pixel whose neighbors of its color agree. Segmenters that give
            probabilities do not need it: mmdet's Mask R-CNN does with ``test_cfg.rcnn.mask_thr_binary=-1``.
        min_score (float): instances below keep their masks, for time; 0.05, mmdet's own least score.
        **detector: arguments of the detector.
    """

    data_preprocessor: nn.Module  # the detector's

    def __init__(self, *, refiner: dict, certainty: float = 0.8, min_score: float = 0.05, **detector):
        if not 0.5 < certainty < 1:
            raise ValueError(f'certainty must lie between 0.5 and 1, got {certainty}')
        super().__init__(**detector)
        self.refiner = MODELS.build(refiner)
        if not hasattr(self.refiner, 'foreground'):
            raise ValueError(f'refiner {type(self.refiner).__name__} refines no masks; use ConvCRFPostProc')
        self.certainty = certainty
        self.min_score = min_score

    def predict(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], *args,
                **kwargs) -> list[DetDataSample]:
        """As of the detector; ``pred_instances.masks`` are bool (n, H0, W0)."""
        samples = super().predict(batch_inputs, batch_data_samples, *args, **kwargs)  # type: ignore[misc]
        for image, sample in zip(batch_inputs, samples):
            instances = sample.pred_instances
            if 'masks' not in instances:
                raise ValueError('the detector gives no masks to refine; use an instance segmenter')
            instances.masks = self.refine(instances.masks, instances.scores, image, sample)
        return samples

    def refine(self, masks: Tensor, scores: Tensor, image: Tensor, sample: DetDataSample) -> Tensor:
        """Refined masks of one image, bool (n, H0, W0); a mask that would vanish stays as it was.

        Args:
            masks (Tensor): (n, H0, W0), bool, or probabilities as uint8 (0..255) or float (0..1).
            scores (Tensor): (n, ).
            image (Tensor): the network's input, (3, H, W).
            sample (DetDataSample): its ``img_shape``.
        """
        probability = self.probability(masks)
        result = probability > 0.5
        chosen = (scores >= self.min_score).nonzero().flatten()
        if len(chosen):
            rgb = restore_image(image, sample, self.data_preprocessor, tuple(masks.shape[-2:]))
            refined = self.refiner.foreground(torch.logit(probability[chosen], eps=1e-4), rgb)
            result[chosen] = torch.where(refined.flatten(1).any(1)[:, None, None], refined, result[chosen])
        return result

    def probability(self, masks: Tensor) -> Tensor:
        """Probability of the foreground, float (n, H0, W0)."""
        if masks.dtype == torch.bool:
            return masks.float() * (2 * self.certainty - 1) + (1 - self.certainty)
        return masks / 255. if masks.dtype == torch.uint8 else masks


@MODELS.register_module()
def RefinedDetector(base: str, **settings):
    """A detector of class ``base`` with :class:`RefinedMasks` before it.

    A config of mmdet becomes one of this by two keys, and its checkpoints fit, for parameters keep their names::

        model = dict(type='RefinedDetector', base='MaskRCNN', refiner=dict(type='ConvCRFPostProc'))

    Args:
        base (str): registered name of the detector, the ``type`` of the config it comes from.
        **settings: of :class:`RefinedMasks` and of the detector.

    Raises:
        KeyError: if there is no detector of that name.
    """
    detector = MODELS.get(base)
    if detector is None:
        raise KeyError(f'RefinedDetector: base={base!r} is not registered; give the type of the config you start from')
    return type(f'Refined{detector.__name__}', (RefinedMasks, detector), {})(**settings)
