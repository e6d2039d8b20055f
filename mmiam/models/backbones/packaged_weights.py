"""Model parts whose weights come with an installed package, so that a checkpoint need not carry them."""
from __future__ import annotations

from mmengine.runner.checkpoint import CheckpointLoader

SCHEME = 'pip://'


class PackagedWeights:
    """Mixin that reads the weights of a part from the package named in ``init_cfg`` if a checkpoint has none of them.

    It takes effect with ``init_cfg=dict(type='Pretrained', checkpoint='pip://...', prefix=...)``; any other value
    changes nothing. The checkpoint of a model with a frozen backbone can thus consist of its head and filling module
    alone.
    """

    @property
    def own_weights(self) -> bool:
        """Whether a checkpoint may leave this part out."""
        return isinstance(self.init_cfg, dict) and str(self.init_cfg.get('checkpoint')).startswith(SCHEME)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        if self.own_weights and not any(key.startswith(prefix) for key in state_dict):
            part = self.init_cfg['prefix'] + '.' if 'prefix' in self.init_cfg else ''
            packaged = CheckpointLoader.load_checkpoint(self.init_cfg['checkpoint'], map_location='cpu')
            own = self.state_dict()
            state_dict.update({prefix + key: packaged[part + key] for key in own if part + key in packaged})
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
