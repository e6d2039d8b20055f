"""Mapping from the classes of a cue's classifier to those of the data set.

Legend: S classes of the classifier (source), T of the data set (target).
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

#: target name -> half-open ranges of ILSVRC 2012's 1,000 classes, counted from 0 in the usual order, for those VOC
#: classes that ImageNet has as such. Chosen by us from the class names.
IMAGENET_VOC_RANGES = dict(
    aeroplane=((404, 405), (895, 896)), bicycle=((444, 445), (671, 672)),
    bird=((7, 25), (80, 101), (127, 147)), boat=((472, 473), (484, 485), (554, 555), (576, 577), (625, 626)),
    bottle=((440, 441), (720, 721), (737, 738), (898, 899), (907, 908)), bus=((654, 655), (779, 780), (874, 875)),
    car=((436, 437), (468, 469), (511, 512), (609, 610), (627, 628), (656, 657), (661, 662), (751, 752), (817, 818)),
    cat=((281, 286), ), chair=((423, 424), (559, 560), (765, 766)), cow=((345, 347), ), diningtable=((532, 533), ),
    dog=((151, 269), ), horse=((339, 340), ), motorbike=((665, 666), (670, 671)), pottedplant=((738, 739), ),
    sheep=((348, 350), ), sofa=((831, 832), ), train=((466, 467), (547, 548), (705, 706), (820, 821)),
    tvmonitor=((664, 665), (782, 783), (851, 852)))


def group_imagenet_classes(classes: Sequence[str], offset: int = 0) -> dict[int, list[int]]:
    """Map each target label to its ImageNet classes, for those target names that ImageNet has.

    Args:
        classes (Sequence[str]): names of the target classes, all of VOC's or some of them.
        offset (int): number of the first ImageNet class: 0, or 1 where 0 is a background class (1,001 classes).

    Raises:
        ValueError: if none of the names is known.
    """
    groups = {label: [offset + index for low, high in IMAGENET_VOC_RANGES[name] for index in range(low, high)]
              for label, name in enumerate(classes) if name in IMAGENET_VOC_RANGES}
    if not groups:
        raise ValueError(f'none of {tuple(classes)} has ImageNet classes; known are {tuple(IMAGENET_VOC_RANGES)}')
    return groups


def map_to_targets(groups: str | Mapping | None, num_source: int) -> Tensor:
    """Return the target label of each source class, -1 for none: (S,), long.

    Args:
        groups (str | Mapping | None): None keeps the labels; ``'agnostic'`` makes them all 0. Otherwise a mapping from
            target label to source classes, or ``dict(classes=[...], offset=0)``, see :func:`group_imagenet_classes`.
        num_source (int): S.

    Raises:
        ValueError: if ``groups`` is anything else, or a class is out of range or in two groups.
    """
    if groups is None:
        return torch.arange(num_source)
    if groups == 'agnostic':
        return torch.zeros(num_source, dtype=torch.long)
    if not isinstance(groups, Mapping):
        raise ValueError(f'groups must be None, "agnostic" or a mapping target label -> source classes, got {groups!r}')
    if 'classes' in groups:
        groups = group_imagenet_classes(**groups)
    targets = [-1] * num_source
    for target, sources in groups.items():
        for source in sources:
            if not 0 <= source < num_source:
                raise ValueError(f'groups[{target}]: class {source} is none of the classifier\'s {num_source}')
            if targets[source] >= 0:
                raise ValueError(f'groups: class {source} stands for {targets[source]} and for {target}')
            targets[source] = int(target)
    return torch.tensor(targets, dtype=torch.long)
