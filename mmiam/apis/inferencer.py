"""mmdet's inferencer for IAMNet."""
from __future__ import annotations

import os.path as osp

import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config

from .inference import init_model


class IAMInferencer(DetInferencer):
    """``DetInferencer`` with weights read safely, the config's own class names without weights, and maps on request.

    Calling it, and what it returns and writes, is as in mmdet: files, folders, arrays, batches, ``out_dir``.

    Args:
        model (str | Config): config file, or a config.
        weights (str, optional): checkpoint, read by torch's safe loader; without one the masks are random.
        device (str, optional): the first CUDA device where there is one, else the CPU.
        maps (bool): keep CAM, PRM and IAM of each instance (``cams``, ``prms``, ``iams``, (n, h, w) at input size) in
            returned data samples, and draw them beside the masks.
        palette (str): as in mmdet; not for pictures with maps.
        show_progress (bool): show a bar.

    Raises:
        FileNotFoundError: if config or checkpoint do not exist.
        ValueError: if ``model`` is None (mmengine would run the config's text in the checkpoint), or a checkpoint is
            damaged or would run something.
    """

    def __init__(self, model: str | Config, weights: str | None = None, device: str | None = None, maps: bool = False,
                 palette: str = 'none', show_progress: bool = True) -> None:
        if model is None:
            raise ValueError('name the config: without one, mmengine runs the text of the config in the checkpoint')
        self.maps = maps
        # a config object, since mmdet would look up another text than an existing file in its own model zoo
        super().__init__(self._config(model), weights, device, palette=palette, show_progress=show_progress)

    def _config(self, model: str | Config) -> Config:
        if not isinstance(model, str):
            return model
        if not osp.isfile(model):
            raise FileNotFoundError(f'config {model} does not exist')
        return Config.fromfile(model)

    def _init_model(self, cfg: Config, weights: str | None, device: str) -> torch.nn.Module:
        """The model; called once, by mmengine."""
        if self.maps:
            cfg.merge_from_dict(dict(model=dict(test_cfg=dict(return_maps=True)),
                                     visualizer=dict(type='IAMVisualizer')))
        return init_model(cfg, weights, device)
