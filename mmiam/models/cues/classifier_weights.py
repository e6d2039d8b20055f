"""Weights of image classifiers, read from the layouts in which they are published.

A classifier is a backbone followed by one linear layer on its pooled features. Here that layer is a 1 x 1 convolution,
so that the response map is available before pooling: its weight is (C, D, 1, 1) where the file has (C, D).

Legend: C classes, D channels of the backbone's last feature map.
"""
from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmiam.utils.checkpoints import check_fit, read_checkpoint, state_dict_of

from ..backbones.efficientnet_lite import SCHEME as PACKAGE
from ..backbones.efficientnet_lite import read_package

#: names of the linear layer without '.weight': torchvision's ResNet and MobileNetV2, mmpretrain, IAMNet's checkpoints
LINEAR_NAMES = ('fc', 'classifier.1', 'head.fc', 'peak_head.classifier')
#: RGB mean and standard deviation, in [0, 255], of torchvision's and mmpretrain's ImageNet classifiers
IMAGENET_NORM = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
#: MobileNetV2: torchvision's number of the first block in each of mmdet's layers 1 to 7
_FIRST_BLOCKS = (1, 2, 4, 7, 11, 14, 17)
_MOBILENET = re.compile(r'features\.(\d+)\.(?:conv\.)?(\d)\.(?:(\d)\.)?(\w+)$')


def load_classifier(backbone: BaseModule, classifier: nn.Conv2d, path: str, norm: tuple | None = None) -> None:
    """Load a backbone and its linear layer from a file of weights.

    Args:
        backbone (BaseModule): loaded in place, from any layout that :func:`rename_backbone_weights` knows.
        classifier (nn.Conv2d): 1 x 1 convolution D -> C, loaded in place.
        path (str): the file, or ``pip://`` and a package (:func:`read_package`); read by torch's safe loader.
        norm (tuple, optional): mean and standard deviation by which the images are normalized, see
            :func:`check_norm`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the weights do not fit; names the file, the key at fault and what to change.
    """
    content = read_package(path) if path.startswith(PACKAGE) else read_checkpoint(path)
    state = state_dict_of(content, path)
    linear = next((name for name in LINEAR_NAMES if f'{name}.weight' in state), None)
    if linear is None:
        raise ValueError(f'{path} holds no classifier: none of {[name + ".weight" for name in LINEAR_NAMES]} is in '
                         'it. Take the weights of the whole classification network as they were published, not those '
                         'of the backbone alone (which tools/model_converters/classifier2mmiam.py writes unless told '
                         '--layout classifier)')
    load_linear(classifier, state, linear, path)
    bare = rename_backbone_weights(state)
    check_fit(backbone, bare, path)
    if norm is not None:
        check_norm(content, path, *norm)
    backbone.load_state_dict(bare, strict=False)


def load_linear(classifier: nn.Conv2d, state: Mapping[str, Tensor], name: str, path: str) -> None:
    """Copy ``<name>.weight``, (C, D) or (C, D, 1, 1), and ``<name>.bias``, zero if it is missing."""
    weight = state[f'{name}.weight']
    weight = weight[:, :, None, None] if weight.dim() == 2 else weight
    if weight.shape != classifier.weight.shape:
        raise ValueError(f'{path}: {name}.weight has {weight.shape[0]} classes and {weight.shape[1]} channels, the '
                         f'head {classifier.out_channels} and {classifier.in_channels}: set '
                         f'num_classes={weight.shape[0]}, in_channels={weight.shape[1]}')
    bias = state.get(f'{name}.bias', weight.new_zeros(len(weight)))
    with torch.no_grad():
        classifier.weight.copy_(weight)
        classifier.bias.copy_(bias)


def rename_backbone_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a backbone to the names that mmdet's backbones use.

    Known layouts are bare names (which torchvision's and timm's ResNets share with mmdet's), names prefixed with
    ``backbone.`` (mmpretrain, mmdet, IAMNet; everything else in such a file is left out), and torchvision's
    MobileNetV2. Names of no known layout are kept.
    """
    if any(key.startswith('backbone.') for key in state):
        state = {key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')}
    return {_rename_mobilenet(key): value for key, value in state.items()}


def _rename_mobilenet(key: str) -> str:
    """Rename a key of torchvision's MobileNetV2 to mmdet's name.

    For example, ``features.2.conv.0.1.weight`` becomes ``layer2.0.expand_conv.bn.weight``.
    """
    found = _MOBILENET.match(key)
    if not found:
        return key
    block, part, inner, tensor = int(found[1]), int(found[2]), found[3], found[4]
    if block in (0, 18):
        return f'{"conv2" if block else "conv1"}.{("conv", "bn")[part]}.{tensor}'
    layer = sum(block >= first for first in _FIRST_BLOCKS)
    names = ('depthwise_conv', 'linear_conv') if block == 1 else ('expand_conv', 'depthwise_conv', 'linear_conv')
    last = len(names) - 1  # the linear convolution and its norm are siblings
    name, kind = (names[part], int(inner)) if part < last else (names[last], part - last)
    return f'layer{layer}.{block - _FIRST_BLOCKS[layer - 1]}.{name}.{("conv", "bn")[kind]}.{tensor}'


def check_norm(content: Mapping, path: str, mean, std) -> None:
    """Refuse weights that were trained with another mean and standard deviation, as far as the file tells.

    It does if it comes from a ``pip://`` package, has torchvision's layout of MobileNetV2, or was written by
    ``classifier2mmiam.py``, which records them in ``meta``.

    Raises:
        ValueError: if they differ; gives the values to set.
    """
    meta = content.get('meta')
    known = None
    if isinstance(meta, Mapping) and {'mean', 'std'} <= set(meta):
        known = meta['mean'], meta['std']
    elif path.startswith(PACKAGE):
        known = (127., ) * 3, (128., ) * 3
    elif any(map(_MOBILENET.match, state_dict_of(content, path))):
        known = IMAGENET_NORM
    given = [[float(value) for value in values] for values in (mean, std)]
    if known is not None and any(abs(a - b) > 0.5 for one, other in zip(known, given) for a, b in zip(one, other)):
        raise ValueError(f'{path} was trained on images of mean {list(known[0])} and standard deviation '
                         f'{list(known[1])}, but they are given with {given[0]} and {given[1]}: set mean and std '
                         '(model.data_preprocessor.mean=, model.data_preprocessor.std=) to those of the weights')
