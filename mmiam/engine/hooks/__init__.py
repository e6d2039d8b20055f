from .safe_checkpoint_hook import SafeCheckpointHook
from .training_stage_hook import TrainingStageHook

__all__ = ['SafeCheckpointHook', 'TrainingStageHook']
