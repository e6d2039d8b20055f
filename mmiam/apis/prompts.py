"""Prompts on an image, each answered by a filling pass."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData

from mmiam.models.cues import PromptCue

from .inference import prepare


class PromptSession:
    """Session that finds the instances of one image at points and boxes that a user gives.

    The backbone runs once, when the session begins; each call only fills and refines its prompts, without
    backpropagation. The model's own cue is not used, so any trained :class:`IAMNet` with a filler will do.

    >>> session = PromptSession(model, 'image.jpg')
    >>> masks = session([dict(point=(120, 80)), dict(box=(10, 20, 200, 150), label=3)]).masks

    Args:
        model (IAMNet): model from :func:`init_model`.
        image (str | ndarray): file, or array (H0, W0, 3) in BGR, as OpenCV reads it.

    Raises:
        ValueError: if the model has no filler, or the array is not an image.
    """

    def __init__(self, model: torch.nn.Module, image: str | np.ndarray) -> None:
        if model.filler is None:
            raise ValueError('prompts are filled: the model needs a filler')
        self.model = model
        self.cue = PromptCue()
        batch = model.data_preprocessor(prepare(model, image), False)
        self.images, self.sample = batch['inputs'], batch['data_samples'][0]
        with torch.no_grad():
            self.feats = model.extract_feat(self.images)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[Mapping]) -> InstanceData:
        """Find the masks at prompts.

        Args:
            prompts (Sequence[Mapping]): see :mod:`mmiam.models.cues.prompt_cue`; in pixels of the original image.

        Returns:
            InstanceData: ``masks``, ``bboxes``, ``labels``, ``scores`` at original size as in any prediction, in
            descending order of score, and ``prompt_index``, the index of the prompt that each came from. A prompt whose
            mask is empty, or nearly equal to a better one (``post_processor.nms_iou``), gives no instance.

        Raises:
            ValueError: if a prompt is malformed, or lies outside the image.
        """
        sample = self.sample.clone()
        sample.set_field(list(prompts), 'prompts', field_type='metainfo')
        cues = [self.cue.cues_of(sample, self.images)]
        cues[0].prompt_index = torch.arange(len(cues[0]), device=self.images.device)
        result, = self.model.fill_and_refine(self.images, self.feats, cues, [sample])
        return result.pred_instances
