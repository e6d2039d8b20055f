from .cue_cache import CueCache
from .peak_response import peak_response_cues

__all__ = ['CueCache', 'peak_response_cues']
