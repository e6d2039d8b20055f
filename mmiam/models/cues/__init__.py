from .class_groups import group_imagenet_classes
from .classifier_cue import ClassifierCue
from .classifier_weights import load_classifier
from .cue_cache import CueCache
from .frozen_classifier import FrozenClassifier
from .peak_cues import ClassMapCue, FoundCues, PeakGaussianCue, PeakResponseCue, choose_matching_maps
from .prompt_cue import PromptCue, simulate_prompts

__all__ = [
    'ClassMapCue', 'ClassifierCue', 'CueCache', 'FoundCues', 'FrozenClassifier', 'PeakGaussianCue', 'PeakResponseCue',
    'PromptCue', 'group_imagenet_classes', 'load_classifier', 'choose_matching_maps', 'simulate_prompts'
]
