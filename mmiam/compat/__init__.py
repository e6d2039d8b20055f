from .light_mmcv import LIGHT_STACK_MESSAGE, install_mmcv_stand_in
from .versions import check_versions, environment_problems

__all__ = ['LIGHT_STACK_MESSAGE', 'install_mmcv_stand_in', 'check_versions', 'environment_problems']
