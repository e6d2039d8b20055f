from . import detectors, fillers, heads, postprocessors, samplers  # noqa: F401
