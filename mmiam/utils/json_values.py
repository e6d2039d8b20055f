"""What a value of a json file is, before anything is made of it."""
from __future__ import annotations


def is_count(value) -> bool:
    """Whether a value of a json file is a whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value) -> bool:
    """Whether a value of a json file is a finite number that fits a float."""
    return isinstance(value, (int, float)) and abs(value) < 1e300  # NaN is not below
