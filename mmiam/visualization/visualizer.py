"""Image, CAM, PRM, IAM and masks wherever mmdet's visualizer draws: files, windows, TensorBoard, Weights & Biases."""
from __future__ import annotations

import mmcv
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.dist import master_only
from mmengine.registry import VISUALIZERS

from .maps import draw_predicted
from .sheet import side_by_side


@VISUALIZERS.register_module()
class IAMVisualizer(DetLocalVisualizer):
    """mmdet's visualizer, with a row of pictures for predictions that hold maps (``test_cfg.return_maps``).

    Other samples, and those drawn with ``draw_pred=False``, are drawn as mmdet draws them. The row does not show
    ground truth. Use this class in place of ``DetLocalVisualizer`` in a config; it works with
    ``DetVisualizationHook``, ``DetInferencer`` and all ``vis_backends`` of mmengine.

    Args:
        name (str): name of the visualizer.
        tile_size (int): side of a picture in pixels.
        **kwargs: see ``DetLocalVisualizer``.
    """

    def __init__(self, name: str = 'visualizer', *args, tile_size: int = 256, **kwargs) -> None:
        super().__init__(name, *args, **kwargs)
        self.tile_size = tile_size

    @master_only
    def add_datasample(self, name: str, image: np.ndarray, data_sample: DetDataSample | None = None,
                       draw_gt: bool = True, draw_pred: bool = True, show: bool = False, wait_time: int = 0,
                       out_file: str | None = None, pred_score_thr: float = 0.3, step: int = 0) -> None:
        """Draw a sample and send it to a window, to a file, or to all backends; the arguments are those of mmdet."""
        predicted = getattr(data_sample, 'pred_instances', None)
        if not draw_pred or predicted is None or not {'prms', 'iams'} & set(predicted.keys()):
            super().add_datasample(name, image, data_sample, draw_gt, draw_pred, show, wait_time, out_file,
                                   pred_score_thr, step)
            return
        image = image.clip(0, 255).astype(np.uint8)
        tiles = draw_predicted(image, predicted, self.dataset_meta['classes'], pred_score_thr)
        picture = side_by_side(list(tiles.values()), list(tiles), self.tile_size)
        self.set_image(picture)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(picture[..., ::-1], out_file)
        else:
            self.add_image(name, picture, step)
