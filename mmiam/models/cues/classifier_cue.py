"""Cues from a classifier, this network's or another, whose classes need not be those of the data set.

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
    """What a classifier responds to, as cues of the data set's classes.

    Args:
        classifier (dict, optional): :class:`FrozenClassifier`. None takes backbone and head of the network that the cue
            is part of.
        response (dict, optional): the cue that the classifier gives, by default :class:`PeakResponseCue`.
        groups (str | Mapping, optional): how the classifier's classes become those of the data set: None as they are;
            ``'agnostic'`` all become 0; a mapping target label -> list of the classifier's classes, or
            ``dict(classes=names, offset=...)`` for ImageNet and names of VOC (:func:`group_imagenet_classes`). Classes
            that stand for none give no cue.
    """

    def __init__(self, classifier: dict | None = None, response: dict | None = None,
                 groups: str | Mapping | None = None) -> None:
        super().__init__()
        self.classifier = MODELS.build(classifier) if classifier else None
        self.response = MODELS.build(response or dict(type='PeakResponseCue'))
        self.groups = groups
        if self.classifier is not None:
            targets = map_to_targets(groups, self.classifier.head.num_classes)  # a wrong mapping is reported now
            if isinstance(groups, Mapping) and isinstance(self.classifier.head, SoftmaxHead):
                self.classifier.head.targets = targets

    @property
    def needs_peak_head(self) -> bool:
        """Whether the network's own classifier gives the cues."""
        return self.classifier is None

    def forward(self, network, images: Tensor, data_samples: list[DetDataSample] | None = None,
                image_labels: list[list[int]] | None = None) -> FoundCues:
        """Find cues among the classes that stand for one of the data set's, and name them by it.

        Args:
            network (IAMNet): the network that the cue is part of.
            images (Tensor): its normalized images, has shape (B, 3, H, W).
            data_samples (list[DetDataSample], optional): their ``img_shape``.
            image_labels (list[list[int]], optional): the data set's classes that may have cues, an image.

        Returns:
            FoundCues: features and class scores are those of ``network``.
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
        if isinstance(head, SoftmaxHead):  # the evidence for a class is that for all of the classifier's that it has
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
        """As of ``response``."""
        self.response.draw(cue, images)
