"""Fuzzing of everything that reads files of others.

``readers`` small valid files of each kind and what reads them; ``mutations`` how they are damaged; ``watched`` a
process that notices whatever a reader must not do.
"""
from .mutations import mutate
from .readers import READERS, Reader
from .watched import Finding, watch

__all__ = ['Finding', 'READERS', 'Reader', 'mutate', 'watch']
