from .coco_results import CocoResults
from .inference import image_files, init_model, predict_files
from .prompts import PromptSession

__all__ = ['CocoResults', 'PromptSession', 'image_files', 'init_model', 'predict_files']
