"""Built-in proposal generators: CPU only, no learning."""
from .selective_merging import SelectiveMerging

__all__ = ['SelectiveMerging']
