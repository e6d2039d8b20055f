"""A classification network that is used but never trained.

Legend: B images, C classes, H x W network input size.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from torch import Tensor

from ..backbones import cell_offset
from .classifier_weights import load_classifier


@MODELS.register_module()
class FrozenClassifier(BaseModule):
    """Backbone and head with their own normalization and weights; always in eval mode, without gradients.

    Its weights are read from ``checkpoint`` at the first image, or before training begins. If a checkpoint of the
    surrounding model contains weights for it, they take precedence.

    Args:
        backbone (dict): any backbone of mmdet; its last output is classified.
        head (dict): :class:`PeakStimulationHead` for a classifier trained with peak stimulation,
            :class:`SoftmaxHead` for one trained on pooled features (ImageNet).
        checkpoint (str, optional): file with the weights, see :func:`load_classifier`.
        mean, std (Sequence[float]): normalization of RGB in [0, 255] with which the weights were trained. The defaults
            are torchvision's; a MobileNetV2 that expects [-1, 1] needs 127.5 for both.
    """

    def __init__(self, backbone: dict, head: dict, checkpoint: str | None = None,
                 mean: Sequence[float] = (123.675, 116.28, 103.53),
                 std: Sequence[float] = (58.395, 57.12, 57.375)) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = MODELS.build(head)
        self.checkpoint = checkpoint
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self._ready = checkpoint is None
        self._prefix = ''
        self.register_load_state_dict_post_hook(_excuse_missing_weights)
        self.requires_grad_(False)
        self.eval()

    @property
    def peak_head(self) -> BaseModule:
        """The head, under the name that cues use."""
        return self.head

    def cell_offset(self, size: tuple[int, int]) -> tuple[int, int]:
        """See :func:`mmiam.models.backbones.cell_offset`."""
        return cell_offset(self.backbone, size)

    @property
    def own_weights(self) -> bool:
        """Whether a checkpoint of the surrounding model may leave this part out."""
        return self.checkpoint is not None

    def load(self) -> None:
        """Read the checkpoint, unless the weights are there already."""
        if self.checkpoint is not None and not self._ready:
            norm = self.mean.flatten().tolist(), self.std.flatten().tolist()
            load_classifier(self.backbone, self.head.classifier, self.checkpoint, norm)
            self._ready = True

    def init_weights(self) -> None:
        """Read the weights of the checkpoint, or draw random ones if there is none."""
        if self.checkpoint is None:
            super().init_weights()
        self.load()

    def train(self, mode: bool = True):
        """Stay in eval mode, whatever ``mode`` is."""
        return super().train(False)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        self._prefix = prefix
        self._ready = self._ready or any(key.startswith(f'{prefix}head.') for key in state_dict)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of normalized images."""
        self.load()
        return self.backbone(inputs)

    def normalize(self, images: Tensor, data_samples: Sequence[DetDataSample] = ()) -> Tensor:
        """Normalize RGB in [0, 255] (B, 3, H, W) for the backbone; padding beyond each ``img_shape`` becomes zero."""
        inputs = (images - self.mean) / self.std
        for one, sample in zip(inputs, data_samples):
            height, width = sample.img_shape[:2]
            one[:, height:] = 0
            one[:, :, width:] = 0
        return inputs

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """Compute class scores (B, C), raw logits, of images (B, 3, H', W') in RGB, [0, 255]."""
        return self.head.find_cues(self.head(self.extract_feat(self.normalize(images))))[0]


def _excuse_missing_weights(module: FrozenClassifier, incompatible) -> None:
    """Let a checkpoint of the surrounding model leave the classifier out: its own file has the weights."""
    if not any(key.startswith(module._prefix + 'head.') for key in incompatible.missing_keys) or module._ready:
        return
    kept = [key for key in incompatible.missing_keys if not key.startswith(module._prefix)]
    incompatible.missing_keys[:] = kept
