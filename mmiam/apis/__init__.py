from .coco_results import CocoResults
from .inference import image_files, init_model, predict_files
from .inferencer import IAMInferencer, load
from .prompts import PromptSession

__all__ = ['CocoResults', 'IAMInferencer', 'PromptSession', 'image_files', 'init_model', 'load', 'predict_files']
