"""Saliency maps that another method saved as images (the other methods of Table 4)."""
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
    """The map in ``<folder>/<image id><suffix>``, written into the sample; there are no instances.

    The field is a float (H0, W0) in [0, 1], the gray levels of the image divided by 255. This is how saliency maps are
    usually exchanged; :class:`SaliencyMetric` writes ours the same way with ``save_dir``.

    Args:
        folder (str): folder with the maps of one method on one data set.
        suffix (str): suffix of the files.
        field (str): name of the field.
    """

    def __init__(self, folder: str, suffix: str = '.png', field: str = 'pred_saliency', init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.folder = folder
        self.suffix = suffix
        self.field = field

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        """Set ``field`` of ``data_sample``; otherwise the same as :meth:`BasePostProcessor.forward`.

        Raises:
            FileNotFoundError: if the map is missing; names its file.
            ValueError: if the map is damaged or differs in size from the image; names its file.
        """
        path, size = osp.join(self.folder, f'{data_sample.img_id}{self.suffix}'), tuple(image.shape[-2:])
        gray = read_gray(path, 'saliency map')
        if gray.shape != size:
            raise ValueError(f'saliency map {path} has {gray.shape} pixels, its image {size}; take maps of '
                             'the original size, or of this data set')
        data_sample.set_field(torch.from_numpy(gray).to(image) / 255, self.field)
        return self.no_instances(cues, image)
