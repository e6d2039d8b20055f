from .instance_extent_filler import InstanceExtentFiller

__all__ = ['InstanceExtentFiller']
