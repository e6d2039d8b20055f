from .light_mmcv import install_light_stack, is_light
from .versions import check_versions, environment_problems

__all__ = ['install_light_stack', 'is_light', 'check_versions', 'environment_problems']
