from .peak_stimulation_head import PeakStimulationHead
from .softmax_head import SoftmaxHead, group_sums

__all__ = ['PeakStimulationHead', 'SoftmaxHead', 'group_sums']
