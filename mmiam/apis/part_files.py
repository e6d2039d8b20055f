"""One json file an item, so that work can be split between processes, killed, gone on with and put together."""
from __future__ import annotations

import json
import os
import os.path as osp
from collections.abc import Mapping

from mmiam.utils.files import write_json

HEADER = 'info.json'


class PartFiles:
    """A folder with one json file for each of ``count`` items, and ``info.json`` that says what they are of.

    Files appear complete or not at all, so one that exists is done. Several processes may share the folder.

    Args:
        folder (str): made if it does not exist.
        info (Mapping): what the parts depend on, as json. A folder with other parts is refused.
        count (int): number of items.

    Raises:
        ValueError: if the folder holds parts of something else, naming what differs.
    """

    def __init__(self, folder: str, info: Mapping, count: int):
        self.folder, self.info, self.count = folder, json.loads(json.dumps(info)), count
        os.makedirs(folder, exist_ok=True)
        header = osp.join(folder, HEADER)
        if not osp.isfile(header):
            write_json(header, self.info)
        found = read_json(header)
        keys = sorted(set(found) | set(self.info)) if isinstance(found, dict) else ['everything']
        other = [key for key in keys if not isinstance(found, dict) or found.get(key) != self.info.get(key)]
        if other:
            raise ValueError(f'{folder} holds parts of another run ({", ".join(other)} differ); delete the folder, or '
                             'write to another file')

    def path(self, index: int) -> str:
        """File of an item."""
        return osp.join(self.folder, f'{index:07d}.json')

    def has(self, index: int) -> bool:
        """Whether the item is done."""
        return osp.isfile(self.path(index))

    def write(self, index: int, content: object) -> None:
        """Write the file of an item under a temporary name and rename it."""
        write_json(self.path(index), content)

    def read(self, index: int) -> dict:
        """Content of the file of an item."""
        return read_json(self.path(index))

    def missing(self) -> list[int]:
        """Items that are not done, by one listing of the folder."""
        present = set(os.listdir(self.folder))
        return [index for index in range(self.count) if osp.basename(self.path(index)) not in present]


def read_json(path: str) -> dict:
    """Content of a json file.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is damaged ({error}); delete it and start again, the rest is kept') from None
