"""What annotation tools ask of a model: the masks of a picture, those of its tags, and those at clicks.

Legend: H, W image size; n masks of one image.
"""
from __future__ import annotations

import importlib
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import ModuleType

import cv2
import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData

from mmiam.apis import PromptSession, load
from mmiam.apis.annotation_files import polygons
from mmiam.apis.inference import prepare
from mmiam.apis.own_photos import TAGGED_MIN_SCORE
from mmiam.apis.photos import MIN_SCORE, index_names, one_a_region
from mmiam.apis.pseudo_labels import consistent

#: an object: the tool's name for it, its mask, bool (H, W), and its score
Found = tuple[str, np.ndarray, float]


def need(module: str, package: str) -> ModuleType:
    """Import a module of an optional package.

    Raises:
        ModuleNotFoundError: if the package is missing; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split('.')[0] != module.split('.')[0]:
            raise
        raise ModuleNotFoundError(f'this needs {package}: pip install {package}', name=error.name) from None


class Annotator:
    """Model that answers the requests of annotation tools.

    Args:
        model (str): see :func:`mmiam.load`: 'voc20', 'imagenet', or the folder of a run of ``mmiam label``.
        device (str, optional): by default the first CUDA device if there is one, or else the CPU.
        maps (bool): keep CAM, PRM and IAM of each mask (``cams``, ``prms``, ``iams``, (n, h, w) at input size); each
            PRM takes one backpropagation.

    Attributes:
        classes (list[str]): a short name for each class, no two equal: its first name, or all its names if another
            class has the same first name.

    Raises:
        ValueError, FileNotFoundError: see :func:`mmiam.load`.
    """

    def __init__(self, model: str = 'voc20', device: str | None = None, maps: bool = False) -> None:
        logger = MMLogger.get_current_instance()
        with warnings.catch_warnings(), ExitStack() as after:  # messages of loading concern only those who train
            warnings.simplefilter('ignore')
            after.callback(logger.setLevel, logger.level)
            logger.setLevel('ERROR')
            self.model = load(model, device or None, maps=maps).model
        if maps and hasattr(self.model.cue, 'prms'):  # this cue draws PRMs only on request
            self.model.cue.prms = True
        all_names = self.model.dataset_meta['classes']
        self.index = index_names(all_names)
        first = [names.split(',')[0].strip() for names in all_names]
        count = Counter(first)
        self.classes = [short if count[short] == 1 else names for short, names in zip(first, all_names)]

    def labels(self, tags: Iterable[str]) -> list[int]:
        """Look up the labels of tags by any name of a class; tags that are no class of the model are skipped."""
        names = [tag.strip().lower() for tag in tags]
        return [self.index[name] for name in names if name in self.index]

    def masks(self, image: np.ndarray, tags: Iterable[str] | None = None, min_score: float | None = None
              ) -> InstanceData:
        """Find the masks of a picture, best first, one per region.

        Args:
            image (ndarray): RGB, uint8 (H, W, 3).
            tags (Iterable[str], optional): what is in the picture: only these classes are looked for, and the best mask
                of each counts even if its score is low. By default, all classes are looked for.
            min_score (float, optional): least score, which then has no exception. By default ``MIN_SCORE``, or
                ``TAGGED_MIN_SCORE`` with tags.

        Returns:
            InstanceData: ``masks`` (n, H, W), ``labels``, ``scores``, ``bboxes``, on the CPU.
        """
        labels = None if tags is None else self.labels(tags)
        self.model.test_cfg['use_image_labels'] = labels is not None
        given = {} if labels is None else dict(image_labels=labels)
        with torch.no_grad():
            sample, = self.model.test_step(prepare(self.model, image[..., ::-1], **given))
        found = sample.pred_instances
        if labels is None:
            return one_a_region(found, MIN_SCORE if min_score is None else min_score).cpu()
        least = TAGGED_MIN_SCORE if min_score is None else min_score
        return one_a_region(found[consistent(found, labels, least, keep_best=min_score is None)]).cpu()

    def find(self, image: np.ndarray, names: Mapping[str, Iterable[str]], tags: Iterable[str] | None = None,
             min_score: float | None = None) -> list[Found]:
        """Find masks as :meth:`masks` does, and return those of classes that the tool has a name for.

        Args:
            image, tags, min_score: see :meth:`masks`.
            names (Mapping[str, Iterable[str]]): the tool's name of a class -> names of the model.
        """
        of_class = {label: name for name, aliases in names.items() for label in self.labels(aliases)}
        found = self.masks(image, tags, min_score)
        return [(of_class[label], mask, score) for label, mask, score in zip(
            found.labels.tolist(), found.masks.numpy(), found.scores.tolist()) if label in of_class]

    def session(self, image: np.ndarray) -> PromptSession:
        """Start a session that answers clicks on a picture (RGB, uint8 (H, W, 3)); the backbone runs here, once."""
        return PromptSession(self.model, image[..., ::-1])


def click(session: PromptSession, prompts: Sequence[Mapping]) -> np.ndarray | None:
    """Find the one object that points and boxes show: the union of the masks that each of them gives.

    Args:
        session (PromptSession): session from :meth:`Annotator.session`.
        prompts (Sequence[Mapping]): ``dict(point=(x, y))`` or ``dict(box=(x1, y1, x2, y2))`` in pixels.

    Returns:
        ndarray: bool (H, W), or None if there is no mask.
    """
    # one prompt at a time: of similar masks, a session keeps only the best, so a further point would add nothing
    mask = np.any([session([prompt]).masks.any(0).cpu().numpy() for prompt in prompts], axis=0)
    return mask if mask.any() else None


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Outline a mask like :func:`polygons`, but in coordinates in which pixel i reaches from i to i + 1.

    Points that change an outline by no more than a pixel are dropped, because each is a handle that a person may have
    to move. Outlines of which fewer than three points would remain stay as they are.
    """
    found = [(outline, cv2.approxPolyDP(outline, 1., True)[:, 0]) for outline in polygons(mask)]
    return [(simple if len(simple) >= 3 else outline) + 0.5 for outline, simple in found]
