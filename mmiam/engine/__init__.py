from mmiam.utils.checkpoints import read_checkpoint

from . import hooks  # noqa: F401
from .launch import close_cpu_group, open_cpu_group
from .preflight import check_config_files
from .safe_loading import safe_loader, use_safe_loader

__all__ = ['check_config_files', 'close_cpu_group', 'open_cpu_group', 'read_checkpoint', 'safe_loader',
           'use_safe_loader']
