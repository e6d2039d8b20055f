"""Weights of image classifiers in the layouts in which they are published.

A classifier is a backbone and one linear layer on its pooled features. Here the layer is a 1 x 1 convolution, so that
the response map is had before the pooling: its weight is (C, D, 1, 1) where the file has (C, D).

Legend: C classes, D channels of the backbone's last feature map.
"""
from __future__ import annotations

import pickle

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

#: names of the linear layer without '.weight': torchvision's ResNet; mmpretrain; IAMNet's own checkpoints
LINEAR_NAMES = ('fc', 'head.fc', 'peak_head.classifier')


def load_classifier(backbone: BaseModule, classifier: nn.Conv2d, path: str) -> None:
    """Load backbone and linear layer from a file of weights.

    Backbone keys are those of mmdet's backbone, bare (torchvision's ResNets have the same) or after ``backbone.``. A
    ``state_dict`` in a checkpoint and the prefix ``module.`` are unwrapped. What else the file holds is ignored.

    Args:
        backbone (BaseModule): is loaded in place.
        classifier (nn.Conv2d): 1 x 1 convolution D -> C, is loaded in place.
        path (str): the file; read by torch's safe loader.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file and the key at fault, and what to change.
    """
    state = read_state_dict(path)
    linear = next((name for name in LINEAR_NAMES if f'{name}.weight' in state), None)
    if linear is None:
        raise ValueError(f'{path} holds no classifier: none of {[name + ".weight" for name in LINEAR_NAMES]} is in '
                         'it. Take the weights of the whole classification network, not those of the backbone alone')
    load_linear(classifier, state, linear, path)
    bare = {key.removeprefix('backbone.'): value for key, value in state.items()}
    own = backbone.state_dict()
    missing = [key for key in own if key not in bare and not key.endswith('num_batches_tracked')]
    if missing:
        raise ValueError(f'{path} lacks {len(missing)} of the {len(own)} weights of {type(backbone).__name__}, the '
                         f'first {missing[0]!r}: set the backbone (type, depth) that the file is of')
    wrong = [key for key in own if key in bare and own[key].shape != bare[key].shape]
    if wrong:
        raise ValueError(f'{path}: {wrong[0]!r} has shape {tuple(bare[wrong[0]].shape)}, {type(backbone).__name__} '
                         f'wants {tuple(own[wrong[0]].shape)}: set the backbone (depth, width) that the file is of')
    backbone.load_state_dict({key: bare[key] for key in own if key in bare}, strict=False)


def load_linear(classifier: nn.Conv2d, state: dict[str, Tensor], name: str, path: str) -> None:
    """Copy ``<name>.weight``, (C, D) or (C, D, 1, 1), and ``<name>.bias``, zero if there is none."""
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


def read_state_dict(path: str) -> dict[str, Tensor]:
    """The tensors of a file of weights, by torch's safe loader, without the prefix ``module.``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or holds anything else than weights.
    """
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f'no file of weights {path}: put the classifier there, or set checkpoint=') from None
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise ValueError(f'{path} cannot be read as weights by the safe loader ({str(error).splitlines()[0]}); '
                         'download it again, or save a plain state dict of tensors') from error
    content = content.get('state_dict', content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f'{path} holds no state dict (name -> tensor): save one')
    return {key.removeprefix('module.'): value for key, value in content.items() if isinstance(value, Tensor)}
