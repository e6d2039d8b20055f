import platform
import subprocess
import sys

import pytest

from mmiam.engine import return_freed_maps

HELD = '''
import torch
from mmiam.engine import return_freed_maps

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096

if {limit}:
    return_freed_maps()
torch.zeros(6 << 20).fill_(1.)  # freed at once; glibc then keeps blocks up to this size
before = resident()
maps = [torch.ones(5 << 20) for _ in range(8)]  # 20 MiB each
maps = maps[-1:]  # the last one lies on top of the others
print(resident() - before)
'''


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has this setting')
def test_freed_maps_are_given_back():
    assert return_freed_maps()
    held = {limit: int(subprocess.run([sys.executable, '-c', HELD.format(limit=limit)], check=True,
                                      capture_output=True, text=True).stdout) for limit in (False, True)}
    assert held[True] < 40 << 20 and held[True] <= held[False]


def test_other_libraries_are_left_alone(monkeypatch):
    class Other:
        """A C library without mallopt."""

    monkeypatch.setattr('ctypes.CDLL', lambda name: Other())
    assert not return_freed_maps()
