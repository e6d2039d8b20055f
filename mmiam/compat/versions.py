"""One clear message for a software stack that does not fit, with the command that fixes it."""
from __future__ import annotations

from importlib import metadata

from packaging.specifiers import SpecifierSet
from packaging.version import Version

#: distribution -> (accepted versions, command that installs one of them)
SUPPORTED = {
    'torch': ('>=2.0', 'pip install "torch>=2.0"'),
    'mmengine': ('>=0.10.3,<1.0', 'pip install "mmengine>=0.10.3,<1.0"'),
    'mmcv': ('>=2.0.0rc4,<2.2.0', 'pip install "mmcv-lite==2.1.0" (or the compiled "mmcv>=2.0.0rc4,<2.2.0")'),
    'mmdet': ('>=3.3,<3.4', 'pip install "mmdet>=3.3,<3.4"'),
    'pycocotools': ('>=2.0.5', 'pip install "pycocotools>=2.0.5"'),
    'numpy': ('>=1.26', 'pip install "numpy>=1.26"'),
    'terminaltables': ('>=3.1', 'pip install "terminaltables>=3.1"'),
}


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution, or None; ``mmcv`` is also found as ``mmcv-lite``."""
    for distribution in (name, 'mmcv-lite') if name == 'mmcv' else (name, ):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def environment_problems() -> list[str]:
    """List every requirement that is missing or out of range, one sentence each, with its remedy."""
    problems = []
    for name, (wanted, remedy) in SUPPORTED.items():
        found = installed_version(name)
        if found is None:
            problems.append(f'{name} is not installed; mmiam needs {name}{wanted}. Fix: {remedy}')
        elif not SpecifierSet(wanted).contains(found.split('+')[0], prereleases=True):
            problems.append(f'{name} {found} is installed, but mmiam needs {name}{wanted}. Fix: {remedy}')
    torch, numpy = installed_version('torch'), installed_version('numpy')
    if torch and numpy and Version(torch) < Version('2.3') and Version(numpy) >= Version('2'):
        problems.append(f'torch {torch} was built for NumPy 1, and numpy {numpy} is installed. '
                        'Fix: pip install "numpy<2" "opencv-python<4.11"')
    return problems


def check_versions() -> None:
    """Check the installed packages, and raise one ImportError that lists every problem.

    Raises:
        ImportError: if a required package is missing or out of range.
    """
    problems = environment_problems()
    if problems:
        raise ImportError('mmiam cannot run on this environment:\n  ' + '\n  '.join(problems))
