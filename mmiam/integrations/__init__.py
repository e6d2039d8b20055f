"""Bridges to other programs that use the published models. Packages that one of them needs are imported on use."""
