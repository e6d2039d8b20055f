"""What an error says beside its own message."""
from __future__ import annotations


def add_note(error: BaseException, note: str) -> None:
    """``error.add_note``; before Python 3.11, which has no notes, a line more in the message."""
    if hasattr(error, 'add_note'):
        error.add_note(note)
    else:
        error.args = (f'{error}\n{note}', )
