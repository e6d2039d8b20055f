from . import hooks  # noqa: F401
from .preflight import check_config_files
from .safe_loading import check_checkpoint, read_checkpoint, safe_loader, use_safe_loader

__all__ = ['check_checkpoint', 'check_config_files', 'read_checkpoint', 'safe_loader', 'use_safe_loader']
