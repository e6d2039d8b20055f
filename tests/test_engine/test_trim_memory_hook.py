import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
from mmdet.registry import HOOKS

from mmiam.engine.hooks import TrimMemoryHook

HOLES = '''
import ctypes
from mmiam.engine.hooks import TrimMemoryHook

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
blocks = [library.malloc(64 << 10) for _ in range(1000)]  # 64 MiB in the heap
for block in blocks:
    ctypes.memset(block, 1, 64 << 10)
for block in blocks[:-1]:
    library.free(block)
before = resident()
TrimMemoryHook.trim()
print(before, resident())
'''


@pytest.mark.skipif(not os.path.exists('/proc/self/statm') or platform.libc_ver()[0] != 'glibc',
                    reason='only glibc has malloc_trim')
def test_trim_gives_memory_back():
    """Small blocks stay in the heap until the last one on top of them is freed; a trim gives back what lies below."""
    done = subprocess.run([sys.executable, '-c', HOLES], check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split()[-2:])
    assert before - after > 30 << 20


def test_every_few_steps(monkeypatch):
    calls = []
    monkeypatch.setattr(TrimMemoryHook, 'trim', staticmethod(lambda: calls.append(1)))
    hook = HOOKS.build(dict(type='TrimMemoryHook', interval=3))
    for step in range(7):
        hook.after_train_iter(SimpleNamespace(iter=step), step)
    assert len(calls) == 2


def test_other_libraries_are_left_alone(monkeypatch):
    class Other:
        """A C library without malloc_trim."""

    monkeypatch.setattr('ctypes.CDLL', lambda name: Other())
    assert TrimMemoryHook.trim() is False
