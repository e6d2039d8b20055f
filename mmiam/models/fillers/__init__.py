from .instance_extent_filler import InstanceExtentFiller
from .second_pass import surer_maps, widen_cues

__all__ = ['InstanceExtentFiller', 'surer_maps', 'widen_cues']
