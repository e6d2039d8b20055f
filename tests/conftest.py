import http.server
import itertools
import logging
import os
import pickle
import shutil
import sys
import threading
from pathlib import Path

import hypothesis
import pytest
import torch

if 'PYTEST_XDIST_WORKER' not in os.environ:  # a worker has what the first process decided
    if any('cuda' in word for word in sys.argv):  # pytest -k cuda: the tests of that name, on a GPU
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # for deterministic mode
    else:  # all others are about the CPU, also where there is a GPU; before mmengine, which asks once
        os.environ['CUDA_VISIBLE_DEVICES'] = ''

from mmengine.registry import init_default_scope  # noqa: E402
from support import MINI_CLASSES, Payload, build_mini_voc, load_tool  # noqa: E402

import mmiam  # noqa: E402, F401  (registers everything; makes mmdet importable on mmcv-lite)

init_default_scope('mmdet')
torch.set_num_threads(1)  # inputs are tiny: more threads only wait for each other
logging.raiseExceptions = False  # loggers of earlier tests hold streams that pytest has closed since

# hypothesis in seconds; for a night: --hypothesis-profile night (docs/safety.md). A busy machine is no fault of a test.
busy = dict(deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile('fast', max_examples=60, **busy)
hypothesis.settings.register_profile('night', max_examples=20_000, **busy)
hypothesis.settings.load_profile('fast')

CONFIGS = Path(__file__).parents[1] / 'configs'


@pytest.fixture
def mini_voc(tmp_path):
    """``mini_voc(perturb=False)`` -> root folder of a new miniature VOC tree (see :func:`build_mini_voc`)."""
    counter = itertools.count()

    def make(perturb=False):
        return build_mini_voc(tmp_path / f'mini_voc_{next(counter)}', perturb)

    return make


def tiny_settings(root, work_dir):
    """Overrides that make configs/iam_r50_voc.py train in seconds on a miniature VOC tree.

    ResNet-18 of width 8 at 64 x 64 pixels from random weights, one epoch a stage, deterministic.

    Args:
        root (Path): a tree of :func:`build_mini_voc` with proposals.
        work_dir (Path): where the run writes.
    """
    load, resize = dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=False)
    train = [load, dict(type='LoadSegmentProposals', proposal_root=str(root / 'proposals')), resize,
             dict(type='RandomFlip', prob=0.5), dict(type='AlignSegmentProposals'), dict(type='PackWeakInputs')]
    test = [load, resize, dict(type='LoadVOCInstances'), dict(type='PackWeakInputs')]
    data = dict(data_root=str(root), metainfo=dict(classes=MINI_CLASSES))
    loader = dict(batch_size=1, num_workers=0, persistent_workers=False)
    test_loader = dict(loader, dataset=dict(data, ann_file='ImageSets/Segmentation/val.txt', pipeline=test))
    return dict(
        model=dict(
            backbone=dict(depth=18, base_channels=8, init_cfg=None),
            peak_head=dict(num_classes=3, in_channels=64, sub_pixel=2, peak_thr=0., keep_strongest=True),
            # random weights match nothing well, and images are smaller than the least area of real objects
            sampler=dict(overlap_thr=0., min_score=None, area_range=(2e-5, 0.85)),
            filler=dict(in_channels=(8, 16, 32), channels=4, hidden_channels=8, num_steps=4),
            post_processor=dict(crf=dict(num_iters=1))),
        train_dataloader=dict(
            loader, dataset=dict(data, ann_file='ImageSets/Segmentation/train.txt', pipeline=train)),
        val_dataloader=test_loader,
        test_dataloader=test_loader,
        train_cfg=dict(max_epochs=2, val_interval=1),
        custom_hooks=[dict(type='TrainingStageHook', fill_begin=1)],
        param_scheduler=[dict(type='PolyLR', power=0.9, begin=0, end=2, convert_to_iter_based=True)],
        default_hooks=dict(logger=dict(interval=1)),
        randomness=dict(seed=0, deterministic=True),
        log_level='WARNING',
        work_dir=str(work_dir))


def build_tiny_config(root, work_dir):
    """The config of :func:`tiny_settings`; makes the tree's proposals if there are none."""
    import numpy as np
    from mmengine.config import Config
    from PIL import Image

    from mmiam.proposals.generators import SelectiveMerging
    folder = root / 'proposals'
    folder.mkdir(exist_ok=True)
    for path in sorted((root / 'JPEGImages').glob('*.jpg')):
        if not (folder / f'{path.stem}.npz').exists():
            SelectiveMerging()(np.array(Image.open(path))).save(folder / f'{path.stem}.npz')
    cfg = Config.fromfile(CONFIGS / 'iam_r50_voc.py')
    cfg.merge_from_dict(tiny_settings(root, work_dir))
    return cfg


@pytest.fixture
def tiny_config(mini_voc, tmp_path):
    """``tiny_config(root=None, name='work')`` -> a Config that trains in seconds, work_dir ``tmp_path / name``."""

    def make(root=None, name='work'):
        return build_tiny_config(mini_voc() if root is None else root, tmp_path / name)

    return make


@pytest.fixture
def tiny_files(tiny_config, tmp_path):
    """[config, checkpoint]: a model of :func:`tiny_config` with random weights that always finds peaks and masks."""
    from mmdet.registry import MODELS
    cfg = tiny_config()
    cfg.model.peak_head.class_thr = -50.
    cfg.dump(tmp_path / 'tiny.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.filler.decoder.layers[-1].bias.data.fill_(2.)  # masks that are not empty
    meta = dict(dataset_meta=dict(classes=MINI_CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'tiny.pth')
    return [str(tmp_path / 'tiny.py'), str(tmp_path / 'tiny.pth')]


@pytest.fixture
def tiny_run(tiny_files, tmp_path):
    """The model of :func:`tiny_files` as the folder that mmiam label leaves."""
    (tmp_path / 'tiny').mkdir()
    for source, name in zip(tiny_files, ('config.py', 'model.pth')):
        shutil.copy(source, tmp_path / 'tiny' / name)
    return tmp_path / 'tiny'


@pytest.fixture
def logged(monkeypatch):
    """What the package says in the log, in order."""
    lines = []
    for name, module in list(sys.modules.items()):
        if name.startswith('mmiam.') and hasattr(module, 'print_log'):
            monkeypatch.setattr(module, 'print_log', lambda text, **_: lines.append(text))
    return lines


class ContentHandler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.content``; ``server.cuts`` holds after how many bytes the next answers break off."""

    def do_GET(self):
        server = self.server
        server.requests.append(self.path)
        data = server.content.get(self.path, server.content.get('*'))
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        if server.states_length:
            self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data[:server.cuts.pop(0)] if server.cuts else data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server on loopback: ``url``, ``content`` (path or '*' -> bytes), ``requests``, ``cuts``, ``states_length``."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    running = http.server.ThreadingHTTPServer(('127.0.0.1', 0), ContentHandler)
    running.content, running.requests, running.cuts, running.states_length = {}, [], [], True
    running.url = f'http://127.0.0.1:{running.server_port}'
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def trap(tmp_path):
    """A folder that only a :class:`Payload` would make: that it did not, and that it would, is checked at the end."""
    path = tmp_path / 'payload_ran'
    yield path
    assert not path.exists()
    pickle.loads(pickle.dumps(Payload(path)))
    assert path.exists()


@pytest.fixture
def hostile(tmp_path, trap):
    """A checkpoint with a payload."""
    torch.save(dict(state_dict=dict(weight=torch.ones(1)), meta=Payload(trap)), tmp_path / 'hostile.pth')
    return tmp_path / 'hostile.pth'


@pytest.fixture
def call_tool(monkeypatch):
    """``call_tool('tools/train.py', *words)`` runs a tool's main in this process, and what it set is undone."""
    from mmengine.runner.checkpoint import CheckpointLoader
    for name in ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
        monkeypatch.delenv(name)
    monkeypatch.setattr(CheckpointLoader, '_schemes', CheckpointLoader._schemes.copy())

    def run(tool, *words):
        with monkeypatch.context() as patch:
            patch.setattr(sys, 'argv', [tool, *map(str, words)])
            return load_tool(tool).main()

    yield run
    for name in ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'LOCAL_RANK'):
        os.environ.pop(name, None)
