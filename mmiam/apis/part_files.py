"""One json file per item, so that work can be split between processes, killed, resumed and merged."""
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
    """Folder with one json file per item, and ``info.json``, which says what they belong to.

    Files appear complete or not at all, so an item whose file exists is done. Several processes may share the folder.
    The name of a file depends only on the key of its item, so the file stays valid when other items come or go.

    Args:
        folder (str): made if it does not exist.
        info (Mapping): what all parts depend on, as json. A folder whose parts depend on something else is refused.
        keys (Sequence[str]): unique keys of the items: what each part depends on besides ``info``.

    Raises:
        ValueError: if the folder contains parts of something else; names what differs.
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
        """Return the path of an item's file."""
        return osp.join(self.folder, f'{self.names[index]}.json')

    def has(self, index: int) -> bool:
        """Return whether an item is done."""
        return osp.isfile(self.path(index))

    def write(self, index: int, content: dict) -> None:
        """Write an item's file under a temporary name and rename it."""
        write_checked_json(self.path(index), content)

    def write_failure(self, index: int, error: str) -> None:
        """Record why an item cannot be done; it is tried again in the next run."""
        write_checked_json(self._failure(index), dict(error=error))

    def read(self, index: int) -> dict:
        """Read the content of an item's file.

        Raises:
            ValueError: if it is damaged.
        """
        return self._read(self.path(index))

    def failures(self) -> dict[int, str]:
        """Return the items that failed and are not done, each with its error."""
        return {index: str(self._read(self._failure(index)).get('error')) for index in range(len(self.names))
                if not self.has(index) and osp.isfile(self._failure(index))}

    def missing(self) -> list[int]:
        """Return the items that are neither done nor failed."""
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
