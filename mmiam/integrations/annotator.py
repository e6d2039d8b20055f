"""What annotation tools ask of a model: masks of a picture, of its tags, and at clicks.

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
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData

from mmiam.apis import PromptSession, load
from mmiam.apis.annotation_files import polygons
from mmiam.apis.own_photos import MIN_SCORE
from mmiam.apis.photos import SCORE_THR, labels_of, one_a_region
from mmiam.apis.pseudo_labels import consistent


def need(module: str, package: str) -> ModuleType:
    """A module of a package that is not part of the installation.

    Raises:
        ModuleNotFoundError: saying how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split('.')[0] != module.split('.')[0]:
            raise
        raise ModuleNotFoundError(f'this needs {package}: pip install {package}', name=error.name) from None


class Annotator:
    """A model that answers annotation tools.

    Args:
        model (str): as of :func:`mmiam.load`: 'voc20', 'imagenet', or the folder of a run of ``mmiam label``.
        device (str, optional): the first CUDA device where there is one, else the CPU.
        maps (bool): keep CAM, PRM and IAM of each mask (``cams``, ``prms``, ``iams``, (n, h, w) at input size); a PRM
            takes one back-propagation a peak.

    Attributes:
        classes (list[str]): one short name for each class, no two equal: of several names of a class the first, or
            all where two classes have the same first one.

    Raises:
        As :func:`mmiam.load`.
    """

    def __init__(self, model: str = 'voc20', device: str | None = None, maps: bool = False) -> None:
        logger = MMLogger.get_current_instance()
        with warnings.catch_warnings(), ExitStack() as after:  # what is said here is for those who train
            warnings.simplefilter('ignore')
            after.callback(logger.setLevel, logger.level)
            logger.setLevel('ERROR')
            self.model = load(model, device or None, maps=maps).model
        if maps and hasattr(self.model.cue, 'prms'):  # of a cue that draws PRMs on request alone
            self.model.cue.prms = True
        self.all_names = list(self.model.dataset_meta['classes'])
        first = [names.split(',')[0].strip() for names in self.all_names]
        count = Counter(first)
        self.classes = [short if count[short] == 1 else names for short, names in zip(first, self.all_names)]

    def labels(self, tags: Iterable[str]) -> list[int]:
        """Labels of those tags that are classes of the model, by any of their names; others are passed over."""
        labels = []
        for tag in tags:
            try:
                labels += labels_of([tag], self.all_names)
            except ValueError:
                continue
        return labels

    def masks(self, image: np.ndarray, tags: Sequence[str] | None = None, score_thr: float | None = None
              ) -> InstanceData:
        """Masks of a picture, best first, one a region.

        Args:
            image (ndarray): RGB, uint8 (H, W, 3).
            tags (Sequence[str], optional): what is in the picture: only these classes are looked for, and of each the
                best mask counts even if its score is low. Without them, all classes.
            score_thr (float, optional): least score, then without exception.

        Returns:
            InstanceData: ``masks`` (n, H, W), ``labels``, ``scores``, ``bboxes``, on the CPU.
        """
        labels = None if tags is None else self.labels(tags)
        steps = [dict(type='mmdet.LoadImageFromNDArray'), *self.model.cfg.test_dataloader.dataset.pipeline[1:]]
        given = dict(img=np.ascontiguousarray(image[..., ::-1]), img_id=0)
        if labels is not None:
            given['image_labels'] = labels
        self.model.test_cfg['use_image_labels'] = labels is not None
        with torch.no_grad():
            sample, = self.model.test_step(pseudo_collate([Compose(steps)(given)]))
        found = sample.pred_instances
        if labels is not None:
            found = found[consistent(found, labels, MIN_SCORE if score_thr is None else score_thr, score_thr is None)]
            score_thr = 0.
        return one_a_region(found, SCORE_THR if score_thr is None else score_thr).cpu()

    def session(self, image: np.ndarray) -> PromptSession:
        """The answers of a picture (RGB, uint8 (H, W, 3)) to clicks; the backbone runs here, once."""
        return PromptSession(self.model, np.ascontiguousarray(image[..., ::-1]))


def click(session: PromptSession, prompts: Sequence[Mapping]) -> np.ndarray | None:
    """The one object that points and boxes show: what any of them is answered with.

    Args:
        session (PromptSession): of :meth:`Annotator.session`.
        prompts (Sequence[Mapping]): ``dict(point=(x, y))`` or ``dict(box=(x1, y1, x2, y2))`` in pixels.

    Returns:
        ndarray: bool (H, W), or None if there is no mask.
    """
    # one by one, for of two similar masks a session keeps one, and a further point would add nothing
    mask = np.any([session([prompt]).masks.any(0).cpu().numpy() for prompt in prompts], axis=0)
    return mask if mask.any() else None


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """As of :func:`polygons`, but in units where pixel i reaches from i to i + 1, and less the points that change an
    outline by no more than a pixel: each is a handle that a person may have to move. Small ones stay as they are."""
    found = [(outline, cv2.approxPolyDP(outline, 1., True)[:, 0]) for outline in polygons(mask)]
    return [(simple if len(simple) >= 3 else outline) + 0.5 for outline, simple in found]
