from .epoch_seed_hook import EpochSeedHook
from .finite_check_hook import FiniteCheckHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .training_stage_hook import TrainingStageHook
from .trim_memory_hook import TrimMemoryHook

__all__ = ['EpochSeedHook', 'FiniteCheckHook', 'SafeCheckpointHook', 'TrainingStageHook', 'TrimMemoryHook']
