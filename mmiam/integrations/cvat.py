"""CVAT: masks for the images of a task, from its tags, points and boxes if it has any, and masks at clicks.

    cvat-cli task auto-annotate 137 --function-module mmiam.integrations.cvat -p model=str:voc20 -p task=int:137

The protocols are those of ``cvat_sdk.auto_annotation``: a detection function, whose ``detect`` takes an image, and an
interaction function, whose ``detect`` takes clicks, for an agent.
"""
from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from mmiam.integrations.annotator import Annotator, Found, click, need, outlines

#: types of CVAT labels that accept a mask or its polygons
MASK_TYPES = ('any', 'mask', 'polygon')


def create(model: str = 'voc20', clicks: bool = False, task: int = 0, server: str = '', device: str = '',
           client: Any = None) -> MaskFunction | ClickFunction:
    """Make the function object; ``cvat-cli`` calls this with the values of its ``-p NAME=TYPE:VALUE``.

    Args:
        model (str): see :func:`mmiam.load`.
        clicks (bool): answer clicks (``cvat-cli function create-native`` and ``run-agent``) instead of predicting
            images.
        task (int): read the tags, points and rectangles of this task, and use its labels.
        server (str): address of CVAT, for ``task``; by default that of cvat-cli's profile. The login is that of
            cvat-cli without ``--auth``: its default profile, or the variable ``CVAT_ACCESS_TOKEN``.
        device (str): device of the network.
        client (cvat_sdk.Client, optional): client that is logged in, for ``task``.

    Raises:
        ModuleNotFoundError: if cvat-sdk is not installed.
        ValueError: if no label of the task can have a mask, or both ``clicks`` and ``task`` are given.
    """
    need('cvat_sdk', 'cvat-sdk')
    if clicks and task:
        raise ValueError('clicks answers any task: leave task out')
    annotator = Annotator(model, device)
    if clicks:
        return ClickFunction(annotator)
    if not task:
        return MaskFunction(annotator, dict.fromkeys(annotator.classes, 'mask'))
    if client is None:
        from cvat_sdk.core.auth import ClientAuthParameters, make_client_from_cli
        client = make_client_from_cli(ClientAuthParameters(server_host=server or None))
    return MaskFunction(annotator, *read_task(client.tasks.retrieve(task)))


def read_task(task: Any) -> tuple[dict[str, str], dict[str, dict]]:
    """Read the labels of a task that can have masks, and what the task says about each image.

    Returns:
        tuple: label name -> 'mask' or, if CVAT accepts nothing else, 'polygon'; and image name -> ``tags`` (names of
        labels) and ``prompts``, pairs (name of a label, prompts).

    Raises:
        ValueError: if no label of the task can have a mask.
    """
    labels = {label.id: label for label in task.get_labels()}
    names = {label.name: 'polygon' if str(label.type) == 'polygon' else 'mask' for label in labels.values()
             if str(label.type) in MASK_TYPES}
    if not names:
        raise ValueError(f'task {task.id} has no label of type {", ".join(MASK_TYPES)}: a label for tags, points and '
                         'masks is of type any')
    frames = [frame.name for frame in task.get_meta().frames]
    content, given = task.get_annotations(), defaultdict(lambda: dict(tags=[], prompts=[]))
    for tag in content.tags:
        given[frames[tag.frame]]['tags'].append(labels[tag.label_id].name)
    for shape in content.shapes:
        label, values = labels[shape.label_id].name, list(shape.points)
        if str(shape.type) == 'points':
            prompts = [dict(point=values[i:i + 2]) for i in range(0, len(values), 2)]
        elif str(shape.type) == 'rectangle' and not shape.rotation:
            prompts = [dict(box=values)]
        else:
            continue
        if label in names:
            given[frames[shape.frame]]['prompts'].append((label, prompts))
    return names, dict(given)


class MaskFunction:
    """Detection function that finds the masks of an image's tags, and of its points and rectangles.

    Each tag gives masks of its class, each points shape or rectangle a mask of its label. If an image has none of
    these, the result is whatever the model recognizes.

    Args:
        annotator (Annotator): the model.
        labels (dict[str, str]): names that masks may have -> 'mask' or 'polygon'; those that are no class of the model
            serve only for points and rectangles.
        given (dict, optional): what the task says about its images, see :func:`read_task`.
    """

    def __init__(self, annotator: Annotator, labels: dict[str, str], given: dict | None = None) -> None:
        import cvat_sdk.auto_annotation as aa
        self.annotator, self.types, self.given = annotator, labels, given or {}
        self.ids = {name: number for number, name in enumerate(labels)}
        self.spec = aa.DetectionFunctionSpec(labels=[
            aa.label_spec(name, number, type=labels[name]) for name, number in self.ids.items()])

    def detect(self, context: Any, image: Any) -> list:
        """Find the masks of an image; see ``cvat_sdk.auto_annotation.DetectionFunction``."""
        pixels = np.asarray(image.convert('RGB'))
        given = self.given.get(context.frame_name, {})
        found: list[Found] = []
        if given.get('prompts'):
            session = self.annotator.session(pixels)
            for name, prompts in given['prompts']:
                mask = click(session, prompts)
                found += [] if mask is None else [(name, mask, 1.)]
        if given.get('tags') or not given.get('prompts'):
            names = {name: [name] for name in self.ids}
            found += self.annotator.find(pixels, names, given.get('tags'), context.conf_threshold)
        return [shape for group, one in enumerate(found, 1) for shape in self.shapes(*one, group, context)]

    def shapes(self, name: str, mask: np.ndarray, score: float, group: int, context: Any) -> list:
        """Make a mask or, if the user or the label wants them, one polygon per region, grouped if there are several."""
        import cvat_sdk.auto_annotation as aa
        from cvat_sdk.masks import encode_mask
        if self.types[name] == 'mask' and not context.conv_mask_to_poly:
            return [aa.mask(self.ids[name], encode_mask(mask), score=score)]
        found = outlines(mask)
        return [aa.polygon(self.ids[name], outline.ravel().tolist(), score=score,
                           group=group if len(found) > 1 else 0) for outline in found]


class ClickFunction:
    """Interaction function that finds the one object that positive points, a box, or both show."""

    def __init__(self, annotator: Annotator) -> None:
        import cvat_sdk.auto_annotation as aa
        self.annotator = annotator
        self.spec = aa.InteractionFunctionSpec(min_pos_points=0, min_bounding_boxes=0)

    def preprocess_image(self, context: Any, image: Any) -> Any:
        """Compute the features of an image, which the agent keeps for the next click."""
        return self.annotator.session(np.asarray(image.convert('RGB')))

    def detect(self, context: Any, pp_image: Any, prompts: Any) -> list:
        """Find the mask at prompts; see ``cvat_sdk.auto_annotation.InteractionFunction``."""
        import cvat_sdk.auto_annotation as aa
        from cvat_sdk.masks import encode_mask
        asked: list[dict] = [dict(point=point) for point in prompts.pos_points]
        if prompts.bounding_box is not None:
            asked.append(dict(box=[*prompts.bounding_box[0], *prompts.bounding_box[1]]))
        mask = click(pp_image, asked)
        return [] if mask is None else [aa.InteractionResultShape(type='mask', points=encode_mask(mask))]
