from .coco_results import CocoResults
from .inference import image_files, init_model, predict_files

__all__ = ['CocoResults', 'image_files', 'init_model', 'predict_files']
