"""Instance Extent Filling: encode the cue, fill it, decode the Instance Activation Map (Sec. 3.2).

Legend: B images, I instances over all images, C channels, X context channels, r side of
the neighborhood, H x W image size, N x N encoded size.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from mmiam.ops import extent_filling, normalize_filling_weights

from .coders import CueEncoder, MapDecoder
from .weight_pyramid import FillingWeightPyramid


@MODELS.register_module()
class InstanceExtentFiller(BaseModule):
    """Class-agnostic module that fills an incomplete response out to the extent of its instance.

    Args:
        in_channels (Sequence[int]): channels of the pyramid's levels.
        in_indices (Sequence[int]): indices of the levels among the outputs of the backbone. Res-blocks
            2, 3, 4 (Sec. 3.3) are taken to mean strides 4, 8, 16, the only reading in which
            the shallowest level has the encoded size.
        channels (int): C. Not stated in the paper; our choice is 16.
        kernel_size (int): r. It is 3, since Fig. 5 shows eight neighbors.
        num_steps (int, optional): number of filling steps. None means N, the side of
            the encoded map ("to ensure the access to any location on the map").
        weight_norm (str): how Y in Eq. (3) makes the weights sum to one: 'softmax',
            'relu_sum' or 'abs_sum'.
        hidden_channels (int): width of the pyramid.
        stride (int): N is the image's side divided by this, rounded up. 4, as in the paper. With 8
            the grid has a quarter of the cells and filling takes half the steps.
        num_stacks (int): number of stacks in the encoder and in the decoder, each of which
            halves or doubles the size. ``stride`` must be a multiple of 2 to this power; what
            remains of it is covered by pooling the cue before the encoder and enlarging the
            map (bilinear) after the decoder. With 2, as in the paper, nothing remains. Our
            option, because stacks at full size are most of the work, for a map that is smooth
            compared with what the ConvCRF makes of it (docs/experiments.md).
        context_channels (int): X, number of image features that the decoder reads alongside
            the filled ones, predicted from the same levels as the filling weights. 0, as in
            the paper, whose decoder sees only the filled cue. Our option, because a cue
            that spreads by weighted means has faded by the time it reaches the end of a
            large instance, and with a few hundred images the filling weights do not learn to
            carry it that far (docs/experiments.md).
        center_bias (float): advantage of the filling weight of a location itself over those
            of its neighbors, as a logit, before training. Not in the paper; our choice is 2,
            because N steps with nearly equal weights blur the cue to nothing, and a blurred
            map teaches little (docs/experiments.md). 0 starts with equal weights.
        loss_weight (float): weight of the loss.
        aux_loss (dict, optional): a loss of mmdet that is added to the cross entropy, on
            logits and masks flattened to (I, H * W), e.g. ``dict(type='DiceLoss')``. None,
            as in the paper. Our option, because contradictory pseudo masks lead cross entropy
            to a soft map of their mean, but Dice to the extent of one of them.
    """

    def __init__(self,
                 in_channels: Sequence[int] = (256, 512, 1024),
                 in_indices: Sequence[int] = (0, 1, 2),
                 channels: int = 16,
                 kernel_size: int = 3,
                 num_steps: int | None = None,
                 weight_norm: str = 'softmax',
                 hidden_channels: int = 256,
                 stride: int = 4,
                 num_stacks: int = 2,
                 context_channels: int = 0,
                 center_bias: float = 2.,
                 loss_weight: float = 1.,
                 aux_loss: dict | None = None,
                 init_cfg=None):
        super().__init__(init_cfg)
        if len(in_channels) != len(in_indices):
            raise ValueError(f'filler: in_channels {tuple(in_channels)} and in_indices {tuple(in_indices)} '
                             'must name the same number of levels')
        if not isinstance(stride, int) or stride < 1 or stride % 2**num_stacks:
            raise ValueError(f'filler: stride is a multiple of {2**num_stacks}, by which {num_stacks} stacks make the '
                             f'map smaller, got {stride!r}')
        self.in_indices = tuple(in_indices)
        self.kernel_size = kernel_size
        self.num_steps = num_steps
        self.stride = stride
        self.pooling = stride // 2**num_stacks
        self.weight_norm = weight_norm
        self.loss_weight = loss_weight
        self.aux_loss = MODELS.build(aux_loss) if aux_loss else None
        self.encoder = CueEncoder(channels, num_stacks)
        self.weight_pyramid = FillingWeightPyramid(in_channels, channels * kernel_size**2, hidden_channels)
        with torch.no_grad():
            self.weight_pyramid.levels[0][-1].bias.view(channels, -1)[:, kernel_size**2 // 2] += center_bias
        self.context = FillingWeightPyramid(in_channels, context_channels, 64) if context_channels else None
        self.decoder = MapDecoder(channels, num_stacks, context_channels)

    def levels(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Pick the pyramid's levels from the outputs of the backbone, from shallow to deep."""
        return [feats[i] for i in self.in_indices]

    def filling_weights(self, feats: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Compute the normalized weights Y W of Eq. (3), has shape (B, C, r * r, *size)."""
        logits = self.weight_pyramid(self.levels(feats), size)
        return normalize_filling_weights(logits.float(), self.kernel_size, self.weight_norm)

    def forward(self, feats: Sequence[Tensor], maps: Tensor, image_index: Tensor) -> Tensor:
        """Compute Instance Activation Maps as logits.

        Args:
            feats (Sequence[Tensor]): outputs of the backbone for B images.
            maps (Tensor): incomplete responses, has shape (I, H, W), non-negative, of
                any scale: each is divided by its maximum before encoding, because the
                values of a map that sums to one are negligible next to the eps of the batch norm.
            image_index (Tensor): index of each instance's image, has shape (I, ), long, best kept on the CPU.

        Returns:
            Tensor: logits, has shape (I, H, W).
        """
        # a synchronized norm waits for all processes, even one that has no instance this time
        waited_for = self.training and any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in self.modules())
        if len(maps) == 0 and not waited_for:
            return maps
        cues = F.avg_pool2d(maps[:, None], self.pooling, ceil_mode=True) if self.pooling > 1 else maps[:, None]
        cues = cues / cues.amax((2, 3), keepdim=True).clamp(min=torch.finfo(cues.dtype).tiny)
        encoded = self.encoder(cues)
        size = tuple(encoded.shape[-2:])
        steps = max(size) if self.num_steps is None else self.num_steps
        filled = extent_filling(encoded.float(), self.filling_weights(feats, size), steps, image_index)
        if self.context is not None:
            context = self.context(self.levels(feats), size).relu().float()
            filled = torch.cat([filled, context[image_index.to(context.device)]], dim=1)
        logits = self.decoder(filled)
        if self.pooling > 1:
            logits = F.interpolate(logits, scale_factor=self.pooling, mode='bilinear', align_corners=False)
        # the pooling rounds up an image side that is not a multiple of the stride
        return logits[:, 0, :maps.shape[1], :maps.shape[2]]

    def loss(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Compute the binary cross entropy against pseudo masks (Sec. 3.3), and the auxiliary loss.

        Args:
            logits (Tensor): has shape (I, H, W).
            targets (Tensor): pseudo masks, bool, has shape (I, H, W).

        Returns:
            dict[str, Tensor]: ``loss_fill`` and, with ``aux_loss``, ``loss_aux``.
        """
        logits, targets = logits.float(), targets.float()  # half floats cannot resolve values close to one
        losses = dict(loss_fill=self.loss_weight * F.binary_cross_entropy_with_logits(logits, targets))
        if self.aux_loss is not None:
            losses['loss_aux'] = self.aux_loss(logits.flatten(1), targets.flatten(1))
        return losses
