"""State dicts of other projects as IAMNet's.

Legend: C classes, D channels of the backbone's last feature map. Keys of mmdet's ResNet are torchvision's; IAMNet puts
``backbone.`` before them and calls its 1 x 1 convolution ``peak_head.classifier``.
"""
from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

HEAD = 'peak_head.classifier'
_BACKBONE = re.compile(r'(conv1|bn1|stem|layer[1-4])\.')
#: the entries of the reference's ``features``, a plain Sequential, that have parameters
_PRM_FEATURES = {'0': 'conv1', '1': 'bn1', '4': 'layer1', '5': 'layer2', '6': 'layer3', '7': 'layer4'}


def resnet_to_mmdet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of torchvision's or timm's ResNet as those of mmdet's, without the linear layer.

    ResNet-18 to 152 and ResNeXt have the same keys. timm's variants with a deep stem ("d", "c") have it under
    ``conv1.N``: mmdet's ``ResNetV1d``/``ResNetV1c`` call it ``stem``, with the norm after it at the end.

    Args:
        state (Mapping[str, Tensor]): a state dict, perhaps with the prefix ``module.``.

    Returns:
        dict[str, Tensor]: for ``init_cfg=dict(type='Pretrained', checkpoint=...)`` of mmdet's ResNet.

    Raises:
        ValueError: naming a key that no ResNet of mmdet has.
    """
    state = _without(state, 'module.')
    deep = any(re.match(r'conv1\.\d', key) for key in state)
    result = {}
    for key, value in state.items():
        if key.startswith(('fc.', 'head.')):
            continue
        if deep:
            key = re.sub(r'^conv1\.(\d+)\.', r'stem.\1.', key)
            key = re.sub(r'^bn1\.', 'stem.7.', key)
        if not _BACKBONE.match(key) or re.match(r'layer\d\.\d+\.(se|attn|drop|aa)', key):
            raise ValueError(f'{key!r} is no key of a ResNet that mmdet has; convert ResNet-18 to 152, ResNeXt, or a '
                             '"c" or "d" variant')
        result[key] = value
    missing = [stage for stage in ('layer1', 'layer2', 'layer3', 'layer4') if not any(map(_starts(stage), result))]
    if missing:
        raise ValueError(f'{missing[0]} is missing: these are not the weights of a whole ResNet')
    return result


def linear_to_convolution(state: Mapping[str, Tensor], name: str = 'fc') -> dict[str, Tensor]:
    """The linear layer of a classifier, (C, D), as IAMNet's 1 x 1 convolution, (C, D, 1, 1).

    Pooling is linear: the class score of the pooled features is the mean of the response map (CAM).

    Args:
        state (Mapping[str, Tensor]): a state dict with ``<name>.weight`` and perhaps ``<name>.bias``.
        name (str): of the layer; ``fc`` in ResNets, ``classifier.1`` in torchvision's MobileNetV2.

    Raises:
        ValueError: if there is no such layer, or it is no matrix.
    """
    state = _without(state, 'module.')
    weight = state.get(f'{name}.weight')
    if weight is None or weight.dim() not in (2, 4) or tuple(weight.shape[2:]) not in ((), (1, 1)):
        raise ValueError(f'{name}.weight is missing or no matrix (classes, channels); the last keys are '
                         f'{list(state)[-4:]}')
    bias = state.get(f'{name}.bias')
    return {f'{HEAD}.weight': weight.reshape(*weight.shape[:2], 1, 1),
            f'{HEAD}.bias': weight.new_zeros(len(weight)) if bias is None else bias}


def classifier_to_iamnet(state: Mapping[str, Tensor], name: str = 'fc') -> dict[str, Tensor]:
    """A whole torchvision or timm ResNet classifier as IAMNet's backbone and head."""
    backbone = resnet_to_mmdet({key: value for key, value in state.items() if not _starts(name + '.')(key)})
    return {**{f'backbone.{key}': value for key, value in backbone.items()}, **linear_to_convolution(state, name)}


def prm_to_iamnet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of the PRM reference as IAMNet's backbone and head.

    There the ResNet is the Sequential ``features`` and the head the first entry of ``classifier``; the wrapper that
    finds peaks is a Sequential itself and may put ``0.`` before both. A variant with ``res_block1`` to ``res_block5``
    in place of ``features`` is read too. A filling module in the file is left out.

    Raises:
        ValueError: if the keys are neither.
    """
    state = _without(_without(state, 'module.'), '0.')
    result = {}
    for key, value in state.items():
        part, _, rest = key.partition('.')
        index, _, tail = rest.partition('.')
        if part == 'features' and index in _PRM_FEATURES:
            result[f'backbone.{_PRM_FEATURES[index]}.{tail}'] = value
        elif part == 'res_block1' and index in ('0', '1'):
            result[f'backbone.{_PRM_FEATURES[index]}.{tail}'] = value
        elif re.fullmatch('res_block[2-5]', part):
            result[f'backbone.layer{int(part[-1]) - 1}.{rest}'] = value
        elif part == 'classifier' and index == '0':
            result[f'{HEAD}.{tail}'] = value
    wanted = ('backbone.conv1.', 'backbone.layer1.', 'backbone.layer4.', f'{HEAD}.weight')
    missing = [name for name in wanted if not any(map(_starts(name), result))]
    if missing:
        raise ValueError(f'no {missing[0]} among the converted keys: the file has not the layout of the PRM reference; '
                         f'its first keys are {list(state)[:4]}')
    return result


def _without(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Keys without a prefix, if all that are tensors have it."""
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors or not all(map(_starts(prefix), tensors)):
        return tensors
    return {key.removeprefix(prefix): value for key, value in tensors.items()}


def _starts(prefix: str):
    return lambda key: key.startswith(prefix)
