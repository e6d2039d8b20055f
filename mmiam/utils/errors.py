"""Notes on errors, in addition to their own message."""
from __future__ import annotations


def add_note(error: BaseException, note: str) -> None:
    """Call ``error.add_note``, or append a line to the message before Python 3.11, where errors have no notes."""
    if hasattr(error, 'add_note'):
        error.add_note(note)
    else:
        error.args = (f'{error}\n{note}', )
