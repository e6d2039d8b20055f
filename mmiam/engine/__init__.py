from . import hooks  # noqa: F401
from .preflight import check_config_files

__all__ = ['check_config_files']
