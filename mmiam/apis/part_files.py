"""One json file an item, so that work can be split between processes, killed, gone on with and put together."""
from __future__ import annotations

import hashlib
import json
import os
import os.path as osp
from collections.abc import Mapping, Sequence

from mmiam.utils.checked_json import read_checked_json, write_checked_json

HEADER = 'info.json'
_AGAIN = 'delete it and start again, the rest is kept'


class PartFiles:
    """A folder with one json file an item, and ``info.json`` that says what they are of.

    Files appear complete or not at all, so one that exists is done. Several processes may share the folder. A file is
    found by its item's key alone: with other items beside it, it stays.

    Args:
        folder (str): made if it does not exist.
        info (Mapping): what all parts depend on, as json. A folder with other parts is refused.
        keys (Sequence[str]): of the items, each one's own: what its part depends on beside ``info``.

    Raises:
        ValueError: if the folder holds parts of something else, naming what differs.
    """

    def __init__(self, folder: str, info: Mapping, keys: Sequence[str]):
        self.folder, self.info = folder, json.loads(json.dumps(info))
        self.names = [hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:24] for key in keys]
        os.makedirs(folder, exist_ok=True)
        header = osp.join(folder, HEADER)
        if not osp.isfile(header):
            write_checked_json(header, dict(info=self.info))
        found = self._read(header).get('info')
        other = [key for key in sorted({*found, *self.info}) if found.get(key) != self.info.get(key)
                 ] if isinstance(found, dict) else ['everything']
        if other:
            raise ValueError(f'{folder} holds parts of another run ({", ".join(other)} differ); delete the folder, or '
                             'write to another file')

    def path(self, index: int) -> str:
        """File of an item."""
        return osp.join(self.folder, f'{self.names[index]}.json')

    def has(self, index: int) -> bool:
        """Whether the item is done."""
        return osp.isfile(self.path(index))

    def write(self, index: int, content: dict) -> None:
        """Write the file of an item under a temporary name and rename it."""
        write_checked_json(self.path(index), content)

    def write_failure(self, index: int, error: str) -> None:
        """Record why an item cannot be done; it is tried again in the next run."""
        write_checked_json(self._failure(index), dict(error=error))

    def read(self, index: int) -> dict:
        """Content of the file of an item.

        Raises:
            ValueError: if it is damaged.
        """
        return self._read(self.path(index))

    def failures(self) -> dict[int, str]:
        """Items that are not done because they failed, and why."""
        return {index: str(self._read(self._failure(index)).get('error')) for index in range(len(self.names))
                if not self.has(index) and osp.isfile(self._failure(index))}

    def missing(self) -> list[int]:
        """Items that are neither done nor failed."""
        failed = self.failures()
        return [index for index in range(len(self.names)) if not self.has(index) and index not in failed]

    def _failure(self, index: int) -> str:
        return osp.join(self.folder, f'{self.names[index]}.failed.json')

    @staticmethod
    def _read(path: str) -> dict:
        try:
            return read_checked_json(path)
        except ValueError as error:
            raise ValueError(f'{error}; {_AGAIN}') from None
