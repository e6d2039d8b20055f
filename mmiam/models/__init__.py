from . import box_sources, detectors, fillers, heads, postprocessors, samplers  # noqa: F401
