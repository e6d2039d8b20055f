from . import backbones, baselines, cues, detectors, fillers, heads, postprocessors, samplers  # noqa: F401
