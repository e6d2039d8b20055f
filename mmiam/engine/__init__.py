from . import hooks  # noqa: F401
from .launch import close_cpu_group, open_cpu_group
from .preflight import check_config_files, check_weights
from .safe_loading import check_checkpoint, read_checkpoint, safe_loader, use_safe_loader

__all__ = ['check_checkpoint', 'check_config_files', 'check_weights', 'close_cpu_group', 'open_cpu_group',
           'read_checkpoint', 'safe_loader', 'use_safe_loader']
