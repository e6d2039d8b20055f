from .peak_stimulation_head import PeakStimulationHead
from .soft_proposal import SoftProposalHead
from .softmax_head import SoftmaxHead, group_sums

__all__ = ['PeakStimulationHead', 'SoftProposalHead', 'SoftmaxHead', 'group_sums']
