import mmiam  # noqa: F401  (registers everything; makes mmdet importable on mmcv-lite)
import torch

torch.set_num_threads(2)
