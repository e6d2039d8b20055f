"""Cues from this network's classifier or another, whose classes need not be those of the data set.

Legend: B images, S classes of the classifier, T of the data set, n cues of one image, H x W network input size.
"""
from __future__ import annotations

from collections.abc import Mapping

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from ..heads import SoftmaxHead, group_sums
from .class_groups import map_to_targets
from .peak_cues import FoundCues


@MODELS.register_module()
class ClassifierCue(BaseModule):
    """The responses of a classifier, as cues for the classes of the data set.

    Args:
        classifier (dict, optional): :class:`FrozenClassifier`. None uses the backbone and head of the network that the
            cue is part of.
        response (dict, optional): the kind of cue to take from the classifier, by default :class:`PeakResponseCue`.
        groups (str | Mapping, optional): how to map the classifier's classes to those of the data set. None leaves them
            as they are; ``'agnostic'`` maps them all to 0. Otherwise a mapping from target label to a list of the
            classifier's classes, or ``dict(classes=names, offset=...)`` for ImageNet and names of VOC classes
            (:func:`group_imagenet_classes`). Classes without a target give no cue.
    """

    def __init__(self, classifier: dict | None = None, response: dict | None = None,
                 groups: str | Mapping | None = None) -> None:
        super().__init__()
        self.classifier = MODELS.build(classifier) if classifier else None
        self.response = MODELS.build(response or dict(type='PeakResponseCue'))
        self.groups = groups
        if self.classifier is not None:
            targets = map_to_targets(groups, self.classifier.head.num_classes)  # reports a wrong mapping at once
            if isinstance(groups, Mapping) and isinstance(self.classifier.head, SoftmaxHead):
                self.classifier.head.targets = targets

    @property
    def needs_peak_head(self) -> bool:
        """Whether the cues come from the network's own classifier."""
        return self.classifier is None

    def forward(self, network, images: Tensor, data_samples: list[DetDataSample] | None = None,
                image_labels: list[list[int]] | None = None) -> FoundCues:
        """Find cues of the classes that are mapped to the data set's, and give them its labels.

        Args:
            network (IAMNet): the network that the cue is part of.
            images (Tensor): its normalized images, has shape (B, 3, H, W).
            data_samples (list[DetDataSample], optional): samples with ``img_shape``.
            image_labels (list[list[int]], optional): for each image, the data set's classes that may have cues.

        Returns:
            FoundCues: its features and class scores are those of ``network``.
        """
        source, inputs = network, images
        if self.classifier is not None:
            source, inputs = self.classifier, self.classifier.normalize(network.to_rgb(images), data_samples or ())
        head = source.peak_head
        targets = map_to_targets(self.groups, head.num_classes).to(images.device)
        allowed = None if image_labels is None else [
            torch.isin(targets, torch.tensor(list(labels), dtype=torch.long, device=targets.device)).nonzero().flatten()
            .tolist() for labels in image_labels]
        feats, scores, cues = self.response(source, inputs, data_samples, allowed)
        if isinstance(head, SoftmaxHead):  # a class sums the evidence of all classes mapped to it
            evidence = torch.logit(group_sums(head.probabilities(scores), targets), eps=1e-6)
            for row, cue in zip(evidence, cues):
                cue.class_scores = row[targets[cue.labels]]
        renamed = []
        for cue in cues:
            cue = cue[targets[cue.labels] >= 0]
            cue.labels = targets[cue.labels]
            renamed.append(cue)
        if source is not network:
            feats, scores = network.classify(images)
        return FoundCues(feats, scores, renamed)

    def draw(self, cue: InstanceData, images: Tensor) -> None:
        """Draw the maps of a cue as ``response`` does."""
        self.response.draw(cue, images)
