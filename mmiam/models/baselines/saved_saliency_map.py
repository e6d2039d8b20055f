"""Saliency maps that another method saved as pictures (the other methods of Table 4)."""
from __future__ import annotations

import os.path as osp

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.models.postprocessors.base import BasePostProcessor
from mmiam.utils.images import read_gray


@MODELS.register_module()
class SavedSaliencyMap(BasePostProcessor):
    """Write the map of ``<folder>/<image id><suffix>`` into the sample; instances there are none.

    The field is a float (H0, W0) in [0, 1], the picture's gray levels over 255. Maps of other methods are exchanged in
    this form; :class:`SaliencyMetric` writes ours with ``save_dir``.

    Args:
        folder (str): the maps of one method on one data set.
        suffix (str): '.png' by default.
        field (str): name of the field.
    """

    def __init__(self, folder: str, suffix: str = '.png', field: str = 'pred_saliency', init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.folder = folder
        self.suffix = suffix
        self.field = field

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        """As :meth:`BasePostProcessor.forward`; sets ``field`` of ``data_sample``.

        Raises:
            FileNotFoundError, ValueError: naming the picture that is missing, damaged or of another size than the
                image.
        """
        path, size = osp.join(self.folder, f'{data_sample.img_id}{self.suffix}'), tuple(image.shape[-2:])
        gray = read_gray(path, 'saliency map')
        if gray.shape != size:
            raise ValueError(f'saliency map {path} has {gray.shape} pixels, its image {size}; take maps of '
                             'the original size, or of this data set')
        data_sample.set_field(torch.from_numpy(gray).to(image) / 255, self.field)
        return self.no_instances(cues, image)
