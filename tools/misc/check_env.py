"""Print the state of the stack and every problem with its remedy: ``python tools/misc/check_env.py``.

Exit status 0 if mmiam can run here, 1 if not.
"""
from __future__ import annotations

import platform
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / 'mmiam/compat'))


def main() -> int:
    print(f'Python {platform.python_version()} ({sys.executable})')
    try:
        import versions  # without its package: importing mmiam needs the very stack that is checked
    except ModuleNotFoundError as error:
        print(f'PROBLEM: {error.name} is not installed. Fix: pip install {error.name}')
        return 1
    for name, (wanted, _) in versions.SUPPORTED.items():
        print(f'{name:15} {versions.installed_version(name) or "missing":20} wanted {wanted}')
    problems = versions.environment_problems()
    if not problems:
        problems = import_problems()
    for problem in problems:
        print(f'PROBLEM: {problem}')
    print('mmiam can run here' if not problems else f'{len(problems)} problem(s)')
    return 1 if problems else 0


def import_problems() -> list[str]:
    """Import mmiam and say which mmcv it found and which devices there are."""
    try:
        import mmiam
    except ImportError as error:
        return [f'import mmiam fails: {error}. Fix: pip install -e . in the checkout']
    import torch
    light = mmiam.compat.is_light()
    print('mmcv            ' + ('light: compiled operators are not there, mmiam needs none' if light
                                else 'full build, used as it is'))
    print(f'CUDA            {torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none, the CPU is used"}')
    return []


if __name__ == '__main__':
    sys.exit(main())
