"""Cues from a classifier, this network's or another: peak responses or class response maps.

Legend: B images, S classes of the classifier, T of the data set, n cues of one image, H x W network input size.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from ..heads import SoftmaxHead, group_sums
from .class_groups import target_labels
from .peak_response import class_map_cues, peak_response_cues

RESPONSES = dict(prm=peak_response_cues, cam=class_map_cues)


@MODELS.register_module()
class ClassifierCue(BaseModule):
    """What a classifier responds to, as cues of the data set's classes.

    Args:
        classifier (dict, optional): :class:`FrozenClassifier`. None takes backbone and head of the network that the cue
            is part of (``ClassifierCue(response='cam')``: CAM in place of its Peak Response Maps).
        response (str): ``'prm'``, Peak Response Maps (Eq. 1), one cue a peak; or ``'cam'``, class response maps,
            one cue a class, without back-propagation.
        groups (str | Mapping, optional): how the classifier's classes become those of the data set: None as they are;
            ``'agnostic'`` all become 0; a mapping target label -> list of the classifier's classes, or
            ``dict(classes=names, offset=...)`` for ImageNet and names of VOC (:func:`imagenet_groups`). Classes that
            stand for none give no cue.
        use_image_labels (bool): admit only the data set's classes in the sample's ``image_labels``.
    """

    def __init__(self, classifier: dict | None = None, response: str = 'prm', groups: str | Mapping | None = None,
                 use_image_labels: bool = False) -> None:
        super().__init__()
        if response not in RESPONSES:
            raise ValueError(f'response must be one of {tuple(RESPONSES)}, got {response!r}')
        self.classifier = MODELS.build(classifier) if classifier else None
        self.respond = RESPONSES[response]
        self.groups = groups
        self.use_image_labels = use_image_labels
        if self.classifier is not None:
            targets = target_labels(groups, self.classifier.head.num_classes)  # a wrong mapping is reported now
            if isinstance(groups, Mapping) and isinstance(self.classifier.head, SoftmaxHead):
                self.classifier.head.targets = targets

    @property
    def needs_network(self) -> bool:
        """Whether :meth:`from_network` is to be called: no classifier of its own."""
        return self.classifier is None

    def forward(self, images: Tensor, data_samples: list[DetDataSample]) -> list[InstanceData]:
        """Cues from the cue's own classifier.

        Args:
            images (Tensor): RGB in [0, 255] at input size, has shape (B, 3, H, W).
            data_samples (list[DetDataSample]): B samples.

        Returns:
            list[InstanceData]: the cues of each image, form: :mod:`mmiam.models.cues.peak_response`.

        Raises:
            KeyError: with ``use_image_labels``, for a sample without them.
        """
        labels = None
        if self.use_image_labels:
            missing = next((sample for sample in data_samples if 'image_labels' not in sample), None)
            if missing is not None:
                raise KeyError(f'{missing.get("img_path", "a sample")} has no image_labels, which '
                               'ClassifierCue(use_image_labels=True) asks for')
            labels = [sample.image_labels for sample in data_samples]
        inputs = self.classifier.normalize(images, data_samples)
        return self.cues(self.classifier.extract_feat, self.classifier.head, inputs, labels)[2]

    def from_network(self, extract: Callable[[Tensor], tuple], head, images: Tensor,
                     image_labels: list[list[int]] | None = None) -> tuple[tuple, Tensor, list[InstanceData]]:
        """Cues from the network around it: arguments and result of :func:`peak_response_cues`."""
        return self.cues(extract, head, images, image_labels)

    def cues(self, extract, head, inputs: Tensor, image_labels: list[list[int]] | None
             ) -> tuple[tuple, Tensor, list[InstanceData]]:
        """Find cues among the classes that stand for one of the data set's, and name them by it."""
        targets = target_labels(self.groups, head.num_classes).to(inputs.device)
        allowed = None if image_labels is None else [
            torch.isin(targets, torch.tensor(list(labels), dtype=torch.long, device=targets.device)).nonzero().flatten()
            .tolist() for labels in image_labels]
        feats, scores, found = self.respond(extract, head, inputs, allowed)
        if isinstance(head, SoftmaxHead):  # the evidence for a class is that for all of the classifier's that it has
            evidence = torch.logit(group_sums(head.probabilities(scores), targets), eps=1e-6)
            for row, cue in zip(evidence, found):
                cue.class_scores = row[targets[cue.labels]]
        renamed = []
        for cue in found:
            cue = cue[targets[cue.labels] >= 0]
            cue.labels = targets[cue.labels]
            renamed.append(cue)
        return feats, scores, renamed
