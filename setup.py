"""Packaging of mmiam; metadata only, the package needs no compiler.

``tools/misc/download.py`` looks for configs, tools and the model index in ``.mim`` of the package, which in an editable
install has links to the checkout. mim looks in ``site-packages/mmiam/.mim``, whatever the install; there are copies.

``light_stack.pth`` goes beside the package into site-packages: it lets mmdet be imported before mmiam where mmcv is
``mmcv-lite`` (mmiam/compat/light_mmcv.py).
"""
from __future__ import annotations

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).parent
MIM = ('configs', 'demo', 'tools', 'model-index.yml')
DATA = ('.pth', '.safetensors', '.json', '.yml', '.md', '.html')  # published weights, what describes them, a page


def version() -> str:
    """The version, without importing the package and what it needs."""
    scope: dict = {}
    exec((ROOT / 'mmiam' / 'version.py').read_text(), scope)
    return scope['__version__']


def requirements(name: str) -> list[str]:
    """Lines of requirements/<name>.txt."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def link_mim() -> None:
    """``mmiam/.mim`` with links to the checkout; copies where links are not allowed."""
    folder = ROOT / 'mmiam' / '.mim'
    folder.mkdir(exist_ok=True)
    for name in MIM:
        target = folder / name
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)
        try:
            target.symlink_to(os.path.relpath(ROOT / name, folder), target_is_directory=(ROOT / name).is_dir())
        except OSError:
            copy(ROOT / name, target)


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder without what Python leaves in it."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
    else:
        shutil.copyfile(source, target)


class BuildWithMim(build_py):
    """Puts ``.mim`` and ``light_stack.pth`` into site-packages, of an editable install too."""

    def run(self) -> None:
        super().run()
        editable = getattr(self, 'editable_mode', False)
        site_packages = Path(self.get_finalized_command('install').install_lib if editable else self.build_lib)
        shutil.copy(ROOT / 'mmiam' / 'compat' / 'light_stack.pth', site_packages)
        folder = site_packages / 'mmiam' / '.mim'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in MIM:
            copy(ROOT / name, folder / name)


class EditableWithMim(editable_wheel):
    """``pip install -e .``."""

    def run(self) -> None:
        link_mim()
        super().run()


setup(
    name='mmiam',
    version=version(),
    description='Weakly supervised instance segmentation with Instance Activation Maps, for MMDetection',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.9',
    packages=find_packages(include=['mmiam', 'mmiam.*']),
    # said so that an editable install is a path in a .pth: beside the folder with mim's copies in site-packages Python
    # finds the package by its path alone
    package_dir={'': '.'},
    package_data={'mmiam': ['py.typed', *(f'**/*{suffix}' for suffix in DATA)]},
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name) for name in (
        'light', 'lite', 'tests', 'docs', 'optional', 'cvat', 'export', 'fiftyone')},
    entry_points=dict(console_scripts=['mmiam=mmiam.cli:main']),
    cmdclass=dict(build_py=BuildWithMim, editable_wheel=EditableWithMim),
    zip_safe=False)
