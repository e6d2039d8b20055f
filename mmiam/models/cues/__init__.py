from .class_groups import imagenet_groups
from .classifier_cue import ClassifierCue
from .classifier_weights import load_classifier
from .cue_cache import CueCache
from .frozen_classifier import FrozenClassifier
from .peak_cues import ClassMapCue, FoundCues, PeakGaussianCue, PeakResponseCue, matching_maps
from .prompt_cue import PromptCue, simulate_prompts

__all__ = [
    'ClassMapCue', 'ClassifierCue', 'CueCache', 'FoundCues', 'FrozenClassifier', 'PeakGaussianCue', 'PeakResponseCue',
    'PromptCue', 'imagenet_groups', 'load_classifier', 'matching_maps', 'simulate_prompts'
]
