"""FiftyOne: masks and maps as label fields of a data set.

>>> import fiftyone
>>> from mmiam.integrations.fiftyone import add_masks
>>> add_masks(fiftyone.Dataset.from_images_dir('photos'), maps=True)
"""
from __future__ import annotations

import warnings
from typing import Any

from mmengine.structures import InstanceData

from mmiam.utils.images import read_image
from mmiam.utils.jobs import with_bar
from mmiam.visualization.maps import merge_maps

from .annotator import Annotator, need


def add_masks(samples: Any, model: str = 'voc20', field: str = 'iam', tags: str | None = None, maps: bool = False,
              min_score: float | None = None, device: str | None = None) -> None:
    """Predict the images of a data set and save the masks in a field of its samples.

    Args:
        samples (fiftyone.core.collections.SampleCollection): a data set or a view whose media are images.
        model (str): see :func:`mmiam.load`.
        field (str): field for the masks (``Detections``).
        tags (str, optional): field that says what is in each image (``Classification``, ``Classifications``, or a list
            of texts such as 'tags'): only these classes are looked for. A sample without any gets no masks.
        maps (bool): also save the heatmaps ``<field>_cam``, ``<field>_prm`` and ``<field>_iam``, each the maximum over
            the masks, in [0, 1].
        min_score (float, optional): see :meth:`Annotator.masks`.
        device (str, optional): device of the network.

    A file that cannot be read is named in a warning, and its sample stays as it is.

    Raises:
        ModuleNotFoundError: if fiftyone is not installed.
        ValueError: if the samples have no field ``tags``.
    """
    need('fiftyone', 'fiftyone')
    if tags is not None and tags not in samples.get_field_schema():
        raise ValueError(f'{tags!r} is none of the fields {", ".join(samples.get_field_schema())}')
    annotator = Annotator(model, device, maps)
    for sample in with_bar(samples, len(samples), 'masks'):
        try:
            image = read_image(sample.filepath)
        except (OSError, ValueError) as error:
            warnings.warn(f'{error}; it is left out', stacklevel=2)
            continue
        found = annotator.masks(image, None if tags is None else tag_names(sample[tags]), min_score)
        sample[field] = detections(found, annotator.classes)
        for name, heatmap in heatmaps(found).items() if maps else ():
            sample[f'{field}_{name}'] = heatmap
        sample.save()


def tag_names(value: Any) -> list[str]:
    """List the names in a ``Classification``, in ``Classifications``, or in a list of texts; none for None."""
    value = getattr(value, 'classifications', value)
    listed = value if isinstance(value, list) else [value]
    return [one if isinstance(one, str) else one.label for one in listed if one is not None]


def detections(instances: InstanceData, classes: list[str]) -> Any:
    """Convert n instances with ``masks`` (n, H, W), ``bboxes`` around them, ``labels`` and ``scores``.

    Returns:
        fiftyone.Detections: boxes relative to the size of the image, each with the part of the mask inside it.
    """
    import fiftyone
    found, (height, width) = [], instances.masks.shape[1:]
    for mask, box, label, score in zip(instances.masks.numpy(), instances.bboxes.int().tolist(),
                                       instances.labels.tolist(), instances.scores.tolist()):
        left, top, right, bottom = box
        found.append(fiftyone.Detection(
            label=classes[label], confidence=score, mask=mask[top:bottom, left:right],
            bounding_box=[left / width, top / height, (right - left) / width, (bottom - top) / height]))
    return fiftyone.Detections(detections=found)


def heatmaps(instances: InstanceData) -> dict[str, Any]:
    """Make a ``fiftyone.Heatmap`` of each of ``cam``, ``prm`` and ``iam`` that the instances have (``cams``, ...)."""
    import fiftyone
    return {name: fiftyone.Heatmap(map=merge_maps(instances.get(f'{name}s'), normalize=name != 'iam'), range=[0, 1])
            for name in ('cam', 'prm', 'iam') if f'{name}s' in instances}
