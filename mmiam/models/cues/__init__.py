from .class_groups import imagenet_groups
from .classifier_cue import ClassifierCue
from .classifier_weights import load_classifier
from .cue_cache import CueCache
from .frozen_classifier import FrozenClassifier
from .peak_response import class_map_cues, peak_response_cues
from .prompt_cue import PromptCue

__all__ = [
    'ClassifierCue', 'CueCache', 'FrozenClassifier', 'PromptCue', 'class_map_cues', 'imagenet_groups',
    'load_classifier', 'peak_response_cues'
]
