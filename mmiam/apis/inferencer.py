"""mmdet's inferencer, adapted to :class:`IAMNet`, and the published models."""
from __future__ import annotations

import os.path as osp

import numpy as np
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config

import mmiam.zoo as zoo
from mmiam.engine.hooks.finite_check_hook import check_predictions
from mmiam.utils.files import naming
from mmiam.utils.images import check_array

from .inference import init_model, output_names, read_config
from .prompts import PromptSession


class IAMInferencer(DetInferencer):
    """``DetInferencer`` that reads weights safely, names classes as the config does without them, and can show maps.

    It is called as in mmdet, and returns and writes the same: files, folders, arrays, batches, ``out_dir``. Images of
    the same name from several folders are written to folders named after these, as in ``out_dir/cat/vis/1.jpg``.

    Args:
        model (str | Config): config file, or a config.
        weights (str, optional): checkpoint, read by torch's safe loader; without one, the masks are random.
        device (str, optional): by default the first CUDA device if there is one, or else the CPU.
        maps (bool): keep CAM, PRM and IAM of each instance (``cams``, ``prms``, ``iams``, (n, h, w) at input size) in
            the returned data samples, and draw them beside the masks.
        palette (str): as in mmdet; pictures with maps ignore it.
        show_progress (bool): show a progress bar.

    Raises:
        FileNotFoundError: if config or checkpoint do not exist.
        ValueError: if ``model`` is None (mmengine would execute the text of the config in the checkpoint), or the
            checkpoint is damaged, would execute code, or belongs to another model; when called, if an array is not an
            image (:func:`check_array`).
        FloatingPointError: when called, if the scores of an image are NaN; names the image.
    """

    def __init__(self, model: str | Config, weights: str | None = None, device: str | None = None, maps: bool = False,
                 palette: str = 'none', show_progress: bool = True) -> None:
        if model is None:
            raise ValueError('name the config: without one, mmengine runs the text of the config in the checkpoint')
        self.maps = maps
        # a config object, since mmdet would look up a text that names no existing file in its own model zoo
        super().__init__(read_config(model), weights, device, palette=palette, show_progress=show_progress)

    def prompt(self, image: str | np.ndarray) -> PromptSession:
        """Start a session on a file, or array in BGR: ``inferencer.prompt(image)([dict(point=(120, 80))])``."""
        return PromptSession(self.model, image)

    def _init_model(self, cfg: Config, weights: str | None, device: str) -> torch.nn.Module:
        """Make the model; called once, by mmengine."""
        if self.maps:
            cfg.merge_from_dict(dict(model=dict(test_cfg=dict(return_maps=True)),
                                     visualizer=dict(type='IAMVisualizer')))
        return init_model(cfg, weights, device)

    def __call__(self, inputs, *args, **kwargs) -> dict:
        """Predict images as ``DetInferencer`` does, after checking arrays."""
        listed = self._inputs_to_list(inputs)
        for number, one in enumerate(listed):
            if not isinstance(one, str):
                with naming(f'image {number} of {len(listed)}'):
                    check_array(one)
        paths = [one for one in listed if isinstance(one, str)]
        self._names = dict(zip(paths, output_names(paths))) if paths else {}
        return super().__call__(inputs, *args, **kwargs)

    def forward(self, inputs, **kwargs) -> list:
        """Predict a batch as ``DetInferencer`` does, and check the scores."""
        samples = super().forward(inputs, **kwargs)
        check_predictions(samples)
        return samples

    def visualize(self, inputs, preds, *args, img_out_dir: str = '', **kwargs) -> list | None:
        """Draw predictions as ``DetInferencer`` does, each in the folder of its image."""
        drawn = [super(IAMInferencer, self).visualize([one], [sample], *args, **kwargs,
                                                      img_out_dir=self._folder(img_out_dir, one))
                 for one, sample in zip(inputs, preds)]
        return None if not drawn or drawn[0] is None else [picture for one in drawn for picture in one]

    def pred2dict(self, data_sample, pred_out_dir: str = '') -> dict:
        """Convert a prediction as ``DetInferencer`` does, and write it to the folder of its image."""
        return super().pred2dict(data_sample, self._folder(pred_out_dir, data_sample.get('img_path')))

    def _folder(self, out_dir: str, path) -> str:
        """Return the folder for the files of an image; ``''``, which means that nothing is written, stays."""
        name = self._names.get(path, '') if isinstance(path, str) else ''
        folder = osp.dirname(name) if osp.basename(name) == osp.basename(str(path)) else osp.splitext(name)[0]
        return osp.join(out_dir, folder) if out_dir and folder else out_dir


def load(name: str = 'voc20', device: str | None = None, maps: bool = False, show_progress: bool = False
         ) -> IAMInferencer:
    """Load a published model, ready to use.

    >>> inferencer = mmiam.load('voc20')
    >>> inferencer('photo.jpg', out_dir='outputs')                 # like mmdet's DetInferencer
    >>> inferencer.prompt('photo.jpg')([dict(point=(120, 80))])    # the object at a click

    Args:
        name (str): 'voc20' (the twenty classes of VOC), 'imagenet' (the thousand of ImageNet), another model of the
            index that has weights, or the folder of a run of ``mmiam label``.
        device, maps, show_progress: see :class:`IAMInferencer`.

    Raises:
        ValueError: if the name is unknown, the model has no weights, or a file does not have the expected sha256.
        FileNotFoundError: if the package with the weights of the backbone is not installed (named in the error), or the
            folder is not that of a finished run.
    """
    return IAMInferencer(zoo.config_file(name), zoo.weights_file(name), device, maps=maps, show_progress=show_progress)
