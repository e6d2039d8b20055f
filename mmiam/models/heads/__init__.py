from .peak_stimulation_head import PeakStimulationHead

__all__ = ['PeakStimulationHead']
