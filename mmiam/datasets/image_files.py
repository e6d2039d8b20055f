"""Names and files of images."""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence


def is_file_name(text: str) -> bool:
    """Return whether a text can name a file in a folder: no path, no control character, and not '.' or '..'."""
    return (text not in ('', '.', '..') and not re.search(r'[/\\]', text)
            and not any(unicodedata.category(letter) in ('Cc', 'Cs') for letter in text))


def refuse_missing(paths: Sequence[str], number: int, remedy: str) -> None:
    """Raise a FileNotFoundError if any of ``number`` required files is missing; it names the first one.

    Args:
        paths (Sequence[str]): the missing files.
        number (int): number of files that are required.
        remedy (str): what the user can do.
    """
    if paths:
        raise FileNotFoundError(f'{paths[0]} does not exist ({len(paths)} of {number} files are missing); {remedy}')


def complete_prefix(data_prefix: Mapping[str, str] | None, default: Mapping[str, str]) -> dict[str, str]:
    """Complete the folders given for a data set by the default ones.

    Raises:
        ValueError: if a key has no default.
    """
    unknown = set(data_prefix or ()) - set(default)
    if unknown:
        raise ValueError(f'data_prefix has no {sorted(unknown)}; its keys are {sorted(default)}')
    return {**default, **(data_prefix or {})}
