from .safe_checkpoint_hook import SafeCheckpointHook
from .training_stage_hook import TrainingStageHook
from .trim_memory_hook import TrimMemoryHook

__all__ = ['SafeCheckpointHook', 'TrainingStageHook', 'TrimMemoryHook']
