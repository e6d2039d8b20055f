"""On-disk cache of a frozen classifier's cues and their candidates, kept between epochs.

While the filling module is trained, backbone and head do not change, so the Peak Response
Maps of an image, flipped or not, and the proposals that match them are the same in every
epoch.
"""
from __future__ import annotations

import hashlib
import io
import logging
import os
import os.path as osp
from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from torch import nn

from mmiam.utils.checkpoints import fingerprint
from mmiam.utils.files import atomic_write, file_stamp, read_arrays

FIELDS = ('labels', 'peaks', 'peak_scores', 'class_scores')
OPTIONAL = ('places', )  # only cues at peaks have these


class CueCache:
    """A folder with one npz file for each view of an image.

    Maps are stored as half floats relative to their maximum, which is what the filler reads. Names say what a file was
    made from: that of the folder contains a fingerprint of the weights and settings, that of the file one of the
    image's path, size and date, the view, its image-level labels and its proposals. A broken or missing file is
    computed again.

    Args:
        root (str): folder for all caches of a run.
        modules (list[nn.Module]): modules that the cues depend on.
        settings (str): further settings that cues and candidates depend on.
        max_gb (float): size that ``root`` may grow to, older caches included; cues that no longer fit are computed anew
            in each epoch.
        processes (int): number of processes that share the folder and what is left of ``max_gb``.
    """

    def __init__(self, root: str, modules: list[nn.Module], settings: str = '', max_gb: float = 20.,
                 processes: int = 1):
        self.folder = osp.join(root, fingerprint(settings, *modules))
        os.makedirs(self.folder, exist_ok=True)
        used = sum(path.stat().st_size for path in Path(root).rglob('*.npz'))
        self.bytes_left = (max_gb * 2**30 - used) / processes
        self.hits = self.misses = 0

    def _path(self, sample: DetDataSample) -> str:
        flip = sample.get('flip_direction') if sample.get('flip') else None
        # The content of a file depends on the view, not on the index of the sample, which changes with shuffling and
        # with other image lists. Proposals hash their label maps once; resized or flipped ones hash that hash together
        # with the operation.
        view = (sample.img_path, file_stamp(sample.img_path), flip, sample.img_shape,
                sample.batch_input_shape, sorted(map(int, sample.get('image_labels', ()))),
                sample.segment_proposals.fingerprint)
        return osp.join(self.folder, hashlib.sha256(repr(view).encode()).hexdigest()[:24] + '.npz')

    def has(self, sample: DetDataSample) -> bool:
        """Return whether there is a file for a view of an image."""
        return osp.isfile(self._path(sample))

    def get(self, sample: DetDataSample, device: torch.device) -> InstanceData | None:
        """Return the cues of a view of an image, or None if there are none to read.

        They have their ``candidates`` and, as they were stored, either ``prms`` (n, H, W), which sum to one, or
        ``maps``.
        """
        try:
            stored = read_arrays(self._path(sample))
            names = (*FIELDS, *(name for name in OPTIONAL if name in stored))
            cues = InstanceData(**{name: torch.from_numpy(stored[name]).to(device, non_blocking=True)
                                   for name in names})
            field = 'prms' if 'prms' in stored else 'maps'
            maps = torch.from_numpy(stored[field]).to(device, non_blocking=True).float()
            cues.set_field(maps / maps.sum((1, 2), keepdim=True) if field == 'prms' else maps, field)
            candidates = np.split(stored['candidates'], np.cumsum(stored['counts'])[:-1])
            cues.candidates = candidates if len(cues) else []
            if len({len(value) for value in cues.values()}) > 1:  # InstanceData does not check against an empty field
                raise ValueError('fields of different lengths')
        except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, AssertionError):
            # whatever is broken: the file is computed and written again; no training should fail because of a cache
            self.misses += 1
            return None
        self.hits += 1
        return cues

    def put(self, sample: DetDataSample, cues: InstanceData) -> None:
        """Store the cues of a view of an image, unless the cache is full.

        Their maps are rounded in place to what :meth:`get` will return, because a resumed run reads them from there.
        """
        field = 'prms' if 'prms' in cues else 'maps'
        maps = cues.get(field)
        maps = (maps / maps.amax((1, 2), keepdim=True) if len(cues) else maps).half()
        rounded = maps.float()
        cues.set_field(rounded / rounded.sum((1, 2), keepdim=True) if field == 'prms' else rounded, field)
        if field == 'prms':
            cues.pop('maps', None)  # drawn anew from the PRMs
        arrays = {name: cues.get(name).cpu().numpy() for name in (*FIELDS, *OPTIONAL) if name in cues}
        arrays[field] = maps.cpu().numpy()
        arrays['counts'] = np.array([len(chosen) for chosen in cues.candidates], np.int64)
        arrays['candidates'] = np.concatenate([np.zeros(0, np.int64), *cues.candidates])
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        content = buffer.getvalue()
        if len(content) > self.bytes_left:  # our own count: adding up the folder for every image is too slow
            return
        try:
            atomic_write(self._path(sample), content)
        except OSError as error:  # disk full: training continues without the cache
            self.bytes_left = 0
            print_log(f'{self.folder} cannot be written ({error.strerror}); make room, or cues that are not there are '
                      'computed in each epoch', logger='current', level=logging.WARNING)
        else:
            self.bytes_left -= len(content)
