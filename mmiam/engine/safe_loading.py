"""Safe reading of checkpoints: only by torch's safe loader, whoever reads them, and only into a model that they fit.

The safe loader has been torch's default only since 2.6, ``torch.hub`` still passes ``weights_only=False``, and an
environment variable can switch it off. Here it is therefore requested explicitly.
"""
from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.model.weight_init import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmiam.models.cues.classifier_weights import rename_backbone_weights
from mmiam.utils.checkpoints import REMOTE, check_fit, read_checkpoint, state_dict_of

_SWITCHES = ('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_WEIGHTS_ONLY_LOAD')


def load_from_safe(filename: str, map_location=None) -> dict:
    """Read a checkpoint for mmengine, whose log shows the part of this name after `load_from_`."""
    return read_checkpoint(filename, map_location)


class FittingInit(PretrainedInit):
    """``init_cfg=dict(type='Pretrained', ...)`` that refuses weights of another network and reads more layouts."""

    def __call__(self, module: nn.Module) -> None:
        print_log(f'load model from: {self.checkpoint}', logger='current')
        content = CheckpointLoader.load_checkpoint(self.checkpoint, self.map_location, logger='current')
        state = state_dict_of(content, self.checkpoint)
        if self.prefix is not None:
            start = self.prefix.rstrip('.') + '.'
            state = {key[len(start):]: value for key, value in state.items() if key.startswith(start)}
        elif not hasattr(module, 'backbone'):
            state = rename_backbone_weights(state)
        check_fit(module, state, self.checkpoint)
        module.load_state_dict(state, strict=False)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())


def use_safe_loader() -> None:
    """Make mmengine and torch read every checkpoint of this process and its child processes safely.

    The tools call this function; ``import mmiam`` does not, so that the import changes nothing in other projects.
    """
    if os.environ.pop(_SWITCHES[0], None) is not None:
        warnings.warn(f'{_SWITCHES[0]} is ignored: checkpoints are read by the safe loader', stacklevel=2)
    os.environ[_SWITCHES[1]] = '1'  # also torch.hub's calls, which pass weights_only=False
    CheckpointLoader.register_scheme(prefixes=['', *REMOTE], loader=load_from_safe, force=True)
    WEIGHT_INITIALIZERS.register_module(name='Pretrained', module=FittingInit, force=True)


@contextmanager
def safe_loader() -> Iterator[None]:
    """Apply :func:`use_safe_loader` within a block, and restore everything afterwards."""
    switches = {name: os.environ.get(name) for name in _SWITCHES}
    schemes = CheckpointLoader._schemes.copy()
    initializer = WEIGHT_INITIALIZERS.get('Pretrained')
    try:
        use_safe_loader()
        yield
    finally:
        CheckpointLoader._schemes = schemes
        WEIGHT_INITIALIZERS.register_module(name='Pretrained', module=initializer, force=True)
        for name, value in switches.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
