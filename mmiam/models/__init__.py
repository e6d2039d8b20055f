from . import backbones, baselines, cues, detectors, fillers, heads, postprocessors, samplers, tta  # noqa: F401
