"""Converts weights of image classifiers: ``python tools/model_converters/classifier2mmiam.py IN.pth OUT.pth``.

backbone    torchvision's or timm's ResNet, torchvision's or mmpretrain's MobileNetV2 -> the names of mmdet's backbones;
            the linear layer stays as ``fc``, so that the file serves ``init_cfg`` and cues that need the classifier
classifier  the same as IAMNet's backbone and head: an IAMNet whose cues are ImageNet's classes
prm         a checkpoint of the PRM reference -> IAMNet (``load_from``; then fill_begin=0 trains the filling module)

Legend: C classes, D channels of the backbone's last feature map.
"""
from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from torch import Tensor

from mmiam.apis.options import make_parser, tool
from mmiam.models.cues.classifier_weights import IMAGENET_NORM, LINEAR_NAMES, rename_backbone_weights
from mmiam.utils.checkpoints import HEAD, read_checkpoint, save_checkpoint, state_dict_of

_RESNET = re.compile(r'(conv1|bn1|stem|layer[1-4])\.')
_SQUEEZE = re.compile(r'layer\d\.\d+\.(se|attn|drop|aa)')
_MOBILENET = re.compile(r'(conv[12]|layer[1-7]\.\d+\.(expand|depthwise|linear)_conv)\.(conv|bn)\.')
#: the entries of the reference's ``features``, a plain Sequential, that have parameters
_PRM_FEATURES = {'0': 'conv1', '1': 'bn1', '4': 'layer1', '5': 'layer2', '6': 'layer3', '7': 'layer4'}


def to_mmdet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published classifier under the names of mmdet's backbone, its linear layer, if there is one, as ``fc``.

    ResNet-18 to 152 and ResNeXt have the same keys. timm's variants with a deep stem ("d", "c") have it under
    ``conv1.N``: mmdet's ``ResNetV1d``/``ResNetV1c`` call it ``stem``, with the norm after it at the end.

    Raises:
        ValueError: naming a key that neither ResNet nor MobileNetV2 of mmdet has.
    """
    linear = next((name for name in LINEAR_NAMES if f'{name}.weight' in state), None)
    layer = {f'fc.{part}': state[f'{linear}.{part}'] for part in ('weight', 'bias') if f'{linear}.{part}' in state}
    deep = any(re.match(r'conv1\.\d', key) for key in state)
    result = {}
    for key, value in rename_backbone_weights(state).items():
        if key.startswith(('fc.', 'head.', 'classifier.')):
            continue
        if deep:
            key = re.sub(r'^conv1\.(\d+)\.', r'stem.\1.', key)
            key = re.sub(r'^bn1\.', 'stem.7.', key)
        if not (_MOBILENET.match(key) or _RESNET.match(key)) or _SQUEEZE.match(key):
            raise ValueError(f'{key!r} is no key of a ResNet or MobileNetV2 that mmdet has; convert ResNet-18 to 152, '
                             'ResNeXt, a "c" or "d" variant, or MobileNetV2')
        result[key] = value
    stages = range(1, 8 if any(map(_MOBILENET.match, result)) else 5)
    missing = [f'layer{stage}' for stage in stages if not any(map(_starts(f'layer{stage}.'), result))]
    if missing:
        raise ValueError(f'{missing[0]} is missing: these are not the weights of a whole network')
    return {**result, **layer}


def classifier_to_iamnet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A classifier as IAMNet's backbone and head: its linear layer, (C, D), as the 1 x 1 convolution, (C, D, 1, 1).

    Pooling is linear: the class score of the pooled features is the mean of the response map (CAM).

    Raises:
        ValueError: as of :func:`to_mmdet`; if there is no linear layer, or it is no matrix.
    """
    state = to_mmdet(state)
    weight, bias = state.pop('fc.weight', None), state.pop('fc.bias', None)
    if weight is None or weight.dim() not in (2, 4) or tuple(weight.shape[2:]) not in ((), (1, 1)):
        raise ValueError(f'the linear layer ({", ".join(LINEAR_NAMES)}) is missing or no matrix (classes, channels); '
                         f'the last keys are {list(state)[-4:]}')
    return {**{f'backbone.{key}': value for key, value in state.items()},
            f'{HEAD}.weight': weight.reshape(*weight.shape[:2], 1, 1),
            f'{HEAD}.bias': weight.new_zeros(len(weight)) if bias is None else bias}


def prm_to_iamnet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of the PRM reference as IAMNet's backbone and head.

    There the ResNet is the Sequential ``features`` and the head the first entry of ``classifier``; the wrapper that
    finds peaks is a Sequential itself and may put ``0.`` before both. A variant with ``res_block1`` to ``res_block5``
    in place of ``features`` is read too. A filling module in the file is left out.

    Raises:
        ValueError: if the keys are neither.
    """
    if all(map(_starts('0.'), state)):
        state = {key[2:]: value for key, value in state.items()}
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


def _starts(prefix: str):
    return lambda key: key.startswith(prefix)


LAYOUTS = dict(backbone=to_mmdet, classifier=classifier_to_iamnet, prm=prm_to_iamnet)


@tool
def main(argv=None) -> None:
    """Write the target, with the mean and standard deviation of its images where the layout tells them."""
    parser = make_parser(__doc__)
    parser.add_argument('source', help='file of weights; read by the safe loader')
    parser.add_argument('target', help='new file')
    parser.add_argument('--layout', choices=sorted(LAYOUTS), default='backbone')
    args = parser.parse_args(argv)
    source = state_dict_of(read_checkpoint(args.source), args.source)
    try:
        state = LAYOUTS[args.layout](source)
    except ValueError as error:
        raise ValueError(f'{args.source}: {error}') from None
    meta = dict(converted_from=args.layout)
    if any(map(_starts('features.0.0.'), source)):  # torchvision's MobileNetV2; timm's weights have several
        meta.update(mean=list(IMAGENET_NORM[0]), std=list(IMAGENET_NORM[1]))
    save_checkpoint(dict(state_dict=state, meta=meta), args.target)
    print(f'{args.target}: {len(state)} tensors')
    print('The images were normalized in training, and model.data_preprocessor must say the same: ' + (
        f'mean={meta["mean"]}, std={meta["std"]}' if 'mean' in meta else
        f'torchvision and mmpretrain have mean={list(IMAGENET_NORM[0])}, std={list(IMAGENET_NORM[1])}; look for others '
        'where the weights are from'))


if __name__ == '__main__':
    sys.exit(main())
