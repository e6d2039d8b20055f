"""Packaging of mmiam; metadata only, the package needs no compiler."""
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """The version, without importing the package and what it needs."""
    scope: dict = {}
    exec((ROOT / 'mmiam' / 'version.py').read_text(), scope)
    return scope['__version__']


def requirements(name: str) -> list[str]:
    """Lines of requirements/<name>.txt."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


setup(
    name='mmiam',
    version=version(),
    description='Weakly supervised instance segmentation with Instance Activation Maps, for MMDetection',
    long_description=(ROOT / 'README.md').read_text() if (ROOT / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=['mmiam', 'mmiam.*']),
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name) for name in ('light', 'tests', 'optional')},
    zip_safe=False)
