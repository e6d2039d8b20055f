"""Built-in proposal generators, which run on the CPU and need no learning."""
from .selective_merging import SelectiveMerging

__all__ = ['SelectiveMerging']
