from .coco_results import CocoResults
from .inference import find_images, init_model, predict_files
from .inferencer import IAMInferencer, load
from .prompts import PromptSession

__all__ = ['CocoResults', 'IAMInferencer', 'PromptSession', 'find_images', 'init_model', 'load', 'predict_files']
