"""What the C library does with freed memory."""
import ctypes

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def return_freed_maps(threshold: int = 4 << 20) -> bool:
    """Let glibc give freed blocks of this size and more back to the system at once.

    By default it keeps blocks of up to 32 MiB in its heap, which maps of changing numbers of instances leave full of
    holes: stage 2 of ``configs/iam_mbv2_voc.py`` grew to 12 GiB in a few epochs, and stays below 6 GiB with this.
    Other C libraries are left alone.

    Args:
        threshold (int): size in bytes.

    Returns:
        bool: whether the library took the setting.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, threshold))
    except (OSError, AttributeError, TypeError):  # not glibc
        return False
