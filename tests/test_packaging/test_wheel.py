"""What an installed package holds: a wheel and an editable install, built without network."""
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest
from mmengine.config import Config
from support import ROOT, run_process

from mmiam.engine.model_zoo import load_models
from mmiam.version import __version__

pytestmark = pytest.mark.slow

PARTS = ('mmiam', 'configs', 'tools', 'demo', 'requirements', 'setup.py', 'pyproject.toml', 'README.md', 'MANIFEST.in',
         'model-index.yml', 'LICENSE')
PACKAGE_FILES = ('.py', '.pth', '.safetensors', '.json', '.yml', '.md')


@pytest.fixture
def checkout(tmp_path):
    """A copy of the checkout, so that nothing is built in the real one."""
    pytest.importorskip('wheel')
    folder = tmp_path / 'checkout'
    folder.mkdir()
    ignore = shutil.ignore_patterns('__pycache__', '.mim', '*.pyc')
    for name in PARTS:
        source = ROOT / name
        shutil.copytree(source, folder / name, ignore=ignore) if source.is_dir() else shutil.copy(source, folder)
    (folder / 'mmiam' / '__pycache__').mkdir()
    (folder / 'mmiam' / 'zoo').mkdir(exist_ok=True)
    (folder / 'mmiam' / 'zoo' / 'weights.safetensors').write_bytes(b'')
    (folder / 'tools' / '__pycache__').mkdir()
    (folder / 'tools' / '__pycache__' / 'left.pyc').write_bytes(b'')
    return folder


def python(*arguments, cwd):
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300,
                          env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def install(wheel, site):
    python('-m', 'pip', 'install', '--no-deps', '--no-index', '--target', str(site), str(wheel), cwd=site.parent)


def start(code, *arguments, site):
    """A process with the package installed in ``site``; no other site-packages has its .pth files run."""
    begin = f'import site, sys; site.addsitedir({str(site)!r}); sys.path.append({sysconfig.get_path("purelib")!r})\n'
    python('-S', '-W', 'ignore', '-c', begin + code, *arguments, cwd=site.parent)


@pytest.fixture
def wheel(checkout, tmp_path):
    python('-m', 'pip', 'wheel', str(checkout), '--no-build-isolation', '--no-deps', '--no-index', '--wheel-dir',
           str(tmp_path / 'out'), cwd=tmp_path)
    path, = (tmp_path / 'out').iterdir()
    return path


def test_wheel(checkout, wheel, tmp_path):
    assert wheel.name == f'mmiam-{__version__}-py3-none-any.whl'
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder, suffixes in (('mmiam', PACKAGE_FILES), ('configs', ('.py', '.yml')), ('tools', ('.py', '.sh'))):
        for source in (ROOT / folder).rglob('*'):
            relative = source.relative_to(ROOT).as_posix()
            if source.suffix in suffixes and '.mim' not in source.parts and '__pycache__' not in source.parts:
                assert (relative if folder == 'mmiam' else f'mmiam/.mim/{relative}') in names
    assert 'mmiam/py.typed' in names
    assert 'mmiam/zoo/weights.safetensors' in names
    assert not [name for name in names if name.endswith('.pyc') or name.startswith(('tests', 'configs', 'tools'))]
    install(wheel, tmp_path / 'site')
    index = tmp_path / 'site' / 'mmiam' / '.mim' / 'model-index.yml'
    models = load_models(index)
    assert models == load_models(ROOT / 'model-index.yml')
    assert all((index.parent / model['Config']).is_file() for model in models.values())
    found = ('import sys; sys.path.insert(0, "."); from mmiam.engine import model_zoo; '
             'print(model_zoo.find_index()); assert model_zoo.find_index().parent.name == ".mim"')
    python('-c', found, cwd=tmp_path / 'site')


def test_mmdet_before_mmiam(wheel, tmp_path):
    """Nothing but the installation: on mmcv-lite, mmdet's models can be imported by who has never heard of mmiam."""
    install(wheel, tmp_path / 'site')
    start('assert not {"torch", "mmcv", "mmdet", "mmiam"} & set(sys.modules)\n'
          'from mmdet.utils import register_all_modules; register_all_modules()\n'
          'from mmdet.apis import init_detector\nimport mmiam', site=tmp_path / 'site')


def test_editable_install(checkout, tmp_path):
    """The links are made by the PEP 660 hook that ``pip install -e`` calls, and made again over old ones."""
    (checkout / 'mmiam' / '.mim' / 'configs').mkdir(parents=True)
    build = 'from setuptools.build_meta import build_editable; build_editable("out")'
    for _ in range(2):
        python('-c', build, cwd=checkout)
        mim = checkout / 'mmiam' / '.mim'
        assert sorted(path.name for path in mim.iterdir()) == ['configs', 'demo', 'model-index.yml', 'tools']
        assert all(path.is_symlink() and path.resolve() == checkout / path.name for path in mim.iterdir())
    wheel, = (checkout / 'out').iterdir()
    install(wheel, tmp_path / 'site')
    # what mim does to find the index of a package
    start('from pkg_resources import get_distribution\nfrom pathlib import Path\n'
          'assert (Path(get_distribution("mmiam").location) / "mmiam/.mim/model-index.yml").is_file()\n'
          'import mmdet.models, mmiam\nassert mmiam.__file__.startswith(sys.argv[1]), mmiam.__file__',
          str(checkout), site=tmp_path / 'site')


@pytest.mark.parametrize('name', ['iam-plus_mbv2_own', 'iam-plus_lite2_voc'])
def test_mim_download(name, checkout, server, tmp_path):
    """As a user of the wheel does it: weights at an address, or copied out of the package before, and the config."""
    pytest.importorskip('mim', reason='optional, in an environment of its own: pip install openmim')
    server.content['*'], address = b'weights' * 1000, f'{server.url}/iam-plus_mbv2_own-0a1b2c3d.pth'
    metafile = checkout / 'configs/metafile.yml'
    entry = '    Config: configs/iam-plus_mbv2_own.py\n'
    assert metafile.read_text().count(entry) == 1
    metafile.write_text(metafile.read_text().replace(entry, f'{entry}    Weights: {address}\n'))
    python('-m', 'pip', 'wheel', str(checkout), '--no-build-isolation', '--no-deps', '--no-index', '--wheel-dir',
           str(tmp_path / 'out'), cwd=tmp_path)
    install(next((tmp_path / 'out').iterdir()), tmp_path / 'site')
    words = [['-m', 'mim', 'download', 'mmiam', '--config', name, '--dest', 'here']]
    if name == 'iam-plus_lite2_voc':  # mim knows addresses alone, but leaves a file that is there
        words.insert(0, ['site/mmiam/.mim/tools/misc/download.py', name, '--out', 'here'])
    for one in words:
        done = run_process(*one, cwd=tmp_path, path=[tmp_path / 'site', *sys.path])
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    if name == 'iam-plus_mbv2_own':
        assert (tmp_path / 'here/iam-plus_mbv2_own-0a1b2c3d.pth').read_bytes() == server.content['*']
    dumped = Config.fromfile(tmp_path / f'here/{name}.py', import_custom_modules=False)
    assert dumped.model == Config.fromfile(ROOT / f'configs/{name}.py').model
