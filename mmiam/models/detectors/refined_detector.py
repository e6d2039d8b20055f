"""Any instance segmenter of mmdet, with its masks refined by the post-processor of this package.

Legend: n instances of one image, H0 x W0 size of the masks (the original image's unless ``rescale=False``).
"""
from __future__ import annotations

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from .original_image import restore_image


class RefinedMasks:
    """Mixin for a detector, to be named before its class: it predicts as the detector does, then refines the masks.

    Args:
        refiner (dict): a post-processor with ``foreground(logits, image)``: :class:`ConvCRFPostProc`. Only its
            settings for masks matter (``crf``, ``mask_thr``, ``max_side``); scores, boxes and labels, and so the
            number of instances, remain the detector's.
        certainty (float): probability that a pixel of a binary mask is labeled correctly, in (0.5, 1). 0.8 is our
            choice: it lets the CRF flip a pixel if neighbors of its color agree. Segmenters that give
            probabilities do not need it; mmdet's Mask R-CNN gives them with ``test_cfg.rcnn.mask_thr_binary=-1``.
        min_score (float): instances below this score keep their masks, to save time; 0.05, mmdet's own lowest score.
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
        """Predict as the detector does, with refined ``pred_instances.masks``, bool (n, H0, W0)."""
        samples = super().predict(batch_inputs, batch_data_samples, *args, **kwargs)  # type: ignore[misc]
        for image, sample in zip(batch_inputs, samples):
            instances = sample.pred_instances
            if 'masks' not in instances:
                raise ValueError('the detector gives no masks to refine; use an instance segmenter')
            instances.masks = self.refine(instances.masks, instances.scores, image, sample)
        return samples

    def refine(self, masks: Tensor, scores: Tensor, image: Tensor, sample: DetDataSample) -> Tensor:
        """Refine the masks of one image: bool (n, H0, W0). A mask that would vanish stays as it was.

        Args:
            masks (Tensor): (n, H0, W0), bool, or probabilities as uint8 (0..255) or float (0..1).
            scores (Tensor): (n, ).
            image (Tensor): the network's input, (3, H, W).
            sample (DetDataSample): with ``img_shape``.
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
        """Convert masks to foreground probabilities, float (n, H0, W0)."""
        if masks.dtype == torch.bool:
            return masks.float() * (2 * self.certainty - 1) + (1 - self.certainty)
        return masks / 255. if masks.dtype == torch.uint8 else masks


@MODELS.register_module()
def RefinedDetector(base: str, **settings):
    """Build a detector of class ``base`` whose masks are refined by :class:`RefinedMasks`.

    Two keys are all it takes to change a config of mmdet, and its checkpoints fit, since parameters keep their names::

        model = dict(type='RefinedDetector', base='MaskRCNN', refiner=dict(type='ConvCRFPostProc'))

    Args:
        base (str): registered name of the detector, which is the ``type`` in its own config.
        **settings: arguments of :class:`RefinedMasks` and of the detector.

    Raises:
        KeyError: if no detector of that name is registered.
    """
    detector = MODELS.get(base)
    if detector is None:
        raise KeyError(f'RefinedDetector: base={base!r} is not registered; give the type of the config you start from')
    return type(f'Refined{detector.__name__}', (RefinedMasks, detector), {})(**settings)
