"""Response maps and peaks of a classifier trained with softmax on pooled features (ImageNet).

Legend: B images, C classes, h x w size of the class response map, n peaks of one image.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ..backbones.packaged_weights import PackagedWeights
from .peak_stimulation_head import PeakStimulationHead


@MODELS.register_module()
class SoftmaxHead(PackagedWeights, PeakStimulationHead):
    """Head that applies the fully connected layer as a 1 x 1 convolution and finds peaks of the most probable classes.

    Applying a linear layer to the mean of the features is the same as taking the mean of its map. Class scores are
    therefore the means of the response maps (up to the enlargement by ``sub_pixel``, whose mean weighs the border a
    little less), and probabilities are their softmax. Logits of a softmax have no natural zero, so ``class_thr`` is
    ignored.

    Args:
        top_k (int): number of most probable classes of which an image gets cues. 1, since the classes are mutually
            exclusive.
        min_probability (float): least probability that such a class must have, among the allowed classes.
        ignore (Sequence[int]): classes that are never predicted, e.g. ``(0, )`` for a background class.
        targets (Tensor, optional): group of each class, (C,) long, -1 for none; may be set later. With it, the
            ``top_k`` groups with the highest sums of their classes' probabilities are chosen, and each is represented
            by its most probable class; classes without a group are left out. A hundred breeds of dog are together more
            probable than one cat.
        others: see :class:`PeakStimulationHead`. ``peak_thr`` defaults to minus infinity and ``relative_peak_thr`` to
            0.5 (both our choice, because the height of these peaks is not comparable between networks).
    """

    def __init__(self, *args, top_k: int = 1, min_probability: float = 0., ignore: Sequence[int] = (),
                 targets: Tensor | None = None, peak_thr: float = -float('inf'), relative_peak_thr: float = 0.5,
                 **kwargs) -> None:
        super().__init__(*args, peak_thr=peak_thr, relative_peak_thr=relative_peak_thr, **kwargs)  # type: ignore[misc]
        self.top_k = top_k
        self.min_probability = min_probability
        self.ignore = tuple(ignore)
        self.targets = targets

    def loss(self, feats: tuple[Tensor, ...], targets: Tensor) -> dict[str, Tensor]:
        """Raise a RuntimeError: the head takes the weights of a trained classifier."""
        raise RuntimeError('SoftmaxHead takes the weights of a trained classifier; to train one with image-level '
                           'labels use PeakStimulationHead')

    def probabilities(self, scores: Tensor) -> Tensor:
        """Compute the softmax over the classes that are not ignored, and 0 for those that are: (B, C) -> (B, C)."""
        scores = scores.clone()
        scores[:, list(self.ignore)] = -torch.inf
        return scores.softmax(1)

    @torch.no_grad()
    def find_cues(self, response: Tensor, image_labels: list[list[int]] | None = None
                  ) -> tuple[Tensor, list[InstanceData]]:
        """Find the peaks of the most probable classes.

        Args:
            response (Tensor): class response maps, has shape (B, C, h, w).
            image_labels (list[list[int]], optional): for each image, the classes to choose from; ``min_probability``
                then applies to probabilities among these classes.

        Returns:
            tuple: the same as from :meth:`PeakStimulationHead.find_cues`, except that ``class_scores`` are log-odds:
            their sigmoid is the probability of the class.
        """
        scores = response.float().mean((2, 3))
        probabilities = self.probabilities(scores)
        cues = []
        for index, row in enumerate(probabilities):
            labels = self.most_probable(row, None if image_labels is None else image_labels[index])
            # give the parent these few maps only, since C may be a thousand, and any one map if there are none
            maps = response[index:index + 1, labels if len(labels) else slice(1)]
            cue = super().find_cues(maps, [range(len(labels))])[1][0]
            cue.labels = labels[cue.labels]
            cue.class_scores = torch.logit(row[cue.labels], eps=1e-6)
            cues.append(cue)
        return scores, cues

    def most_probable(self, probabilities: Tensor, allowed: Sequence[int] | None = None) -> Tensor:
        """Choose the labels of the classes that an image has, most probable first: (C,) -> (k,), long."""
        if allowed is not None:
            mask = torch.zeros_like(probabilities)
            mask[list(allowed)] = 1
            probabilities = probabilities * mask
            probabilities = probabilities / probabilities.sum().clamp(min=torch.finfo(mask.dtype).tiny)
        if self.targets is None:
            values, labels = probabilities.topk(min(self.top_k, len(probabilities)))
            return labels[(values > 0) & (values >= self.min_probability)]
        targets = self.targets.to(probabilities.device)
        values, chosen = group_sums(probabilities[None], targets)[0].sort(descending=True, stable=True)
        chosen = chosen[(values > 0) & (values >= self.min_probability)][:self.top_k]
        members = probabilities.masked_fill(targets != chosen[:, None], -1)
        return members.argmax(1) if len(chosen) else chosen


def group_sums(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Sum over the classes of each group: (B, C), (C,) with -1 for no group -> (B, T), T the highest group plus 1."""
    kept = targets >= 0
    count = int(targets.max()) + 1
    return probabilities.new_zeros((len(probabilities), count)).index_add(1, targets[kept], probabilities[:, kept])
