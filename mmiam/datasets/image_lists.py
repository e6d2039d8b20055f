"""Lists of images, and the files they name."""
from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence

from mmiam.utils.files import read_ids


def read_image_list(path: str) -> list[str]:
    """Read the image ids in a list file, in order; see :func:`mmiam.utils.files.read_ids` for its forms.

    An id may be any file name, but never contains a folder, so no list can lead out of the data root.

    Args:
        path (str): list file.

    Returns:
        list[str]: image ids.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has no id, an id twice, or a line that is not an id.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'image list {path} does not exist; check data_root and ann_file, or see '
                                'docs/data.md for how the lists are made')
    ids = read_ids(path)
    for image_id in ids:
        if not is_file_name(image_id):
            raise ValueError(f'{path}: {image_id!r} is not an image id; write one id a line, without folder and suffix')
    return ids


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
