from .peak_stimulation_head import PeakStimulationHead
from .soft_proposal import SoftProposalHead

__all__ = ['PeakStimulationHead', 'SoftProposalHead']
