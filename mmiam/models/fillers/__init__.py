from .instance_extent_filler import InstanceExtentFiller
from .second_pass import keep_surer_maps, widen_cues

__all__ = ['InstanceExtentFiller', 'keep_surer_maps', 'widen_cues']
