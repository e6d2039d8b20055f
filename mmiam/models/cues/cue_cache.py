"""Cues of a frozen classifier, kept on disk between epochs.

While the filling module is trained, backbone and head do not change: the Peak Response
Maps of an image, flipped or not, are the same in every epoch.
"""
import hashlib
import os
import os.path as osp
import tempfile

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

FIELDS = ('labels', 'peaks', 'peak_scores', 'class_scores')


class CueCache:
    """A folder with one npz a view of an image.

    Maps are kept as half floats relative to their maximum, which is what the filler
    reads. The folder's name holds a fingerprint of the weights, so that maps of other
    weights are never read. A broken or missing file is computed again.

    Args:
        root (str): folder for all caches of a run.
        modules (list[nn.Module]): whatever the cues depend on.
        settings (str): further settings that the cues depend on.
        max_gb (float): no more is written after this much; the rest is computed anew
            in each epoch.
    """

    def __init__(self, root: str, modules: list[nn.Module], settings: str = '', max_gb: float = 20.):
        digest = hashlib.sha256(settings.encode())
        for module in modules:
            for name, value in module.state_dict().items():
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
        self.folder = osp.join(root, digest.hexdigest()[:16])
        os.makedirs(self.folder, exist_ok=True)
        self.bytes_left = max_gb * 2**30 - sum(entry.stat().st_size for entry in os.scandir(self.folder))
        self.hits = self.misses = 0

    def _path(self, data_sample) -> str:
        flip = data_sample.get('flip_direction') if data_sample.get('flip') else None
        view = f'{data_sample.img_path}|{flip}|{tuple(data_sample.img_shape)}|{data_sample.batch_input_shape}'
        return osp.join(self.folder, hashlib.sha256(view.encode()).hexdigest()[:24] + '.npz')

    def get(self, data_sample, device: torch.device) -> InstanceData | None:
        """The cues of a view of an image with ``prms`` (n, H, W) that sum to one, or None."""
        try:
            with np.load(self._path(data_sample), allow_pickle=False) as stored:
                fields = {name: torch.from_numpy(stored[name]).to(device) for name in (*FIELDS, 'prms')}
        except (OSError, ValueError, KeyError, EOFError):
            self.misses += 1
            return None
        self.hits += 1
        prms = fields.pop('prms').float()
        return InstanceData(**fields, prms=prms / prms.sum((1, 2), keepdim=True))

    def put(self, data_sample, cues: InstanceData) -> None:
        """Store the cues of a view of an image, unless the cache is full."""
        prms: Tensor = cues.prms / cues.prms.amax((1, 2), keepdim=True) if len(cues) else cues.prms
        arrays = {name: cues[name].cpu().numpy() for name in FIELDS}
        arrays['prms'] = prms.half().cpu().numpy()
        size = sum(array.nbytes for array in arrays.values())
        if size > self.bytes_left:
            return
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix='.tmp', delete=False) as file:
            np.savez(file, **arrays)
        os.replace(file.name, self._path(data_sample))
        self.bytes_left -= size
