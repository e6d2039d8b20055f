"""The commands of the pages, run in this process as they stand there, in a folder laid out as the pages say.

Data are a miniature VOC, networks are shrunk behind the configs' backs, two epochs stand for all. Commands that another
test runs as they are, or that no test can run, are in :data:`ELSEWHERE`; a new command is in neither and fails.
"""
from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image
from support import ROOT, build_mini_voc
from test_commands import BLOCKS, calls  # noqa: F401  (a fixture)

from mmiam.datasets.voc_palette import VOC_CLASSES

pytestmark = pytest.mark.slow

VOC = 'data/VOCdevkit/VOC2012'
#: pattern of a command -> the test that runs it, or the file that does; optional packages are installed by none
ELSEWHERE = {
    r'mmiam (predict|label)': 'tests/test_cli.py', r'mmiam serve': 'tests/test_integrations/test_serve.py',
    r'make demo': 'tests/test_tools/test_run_demo.py', r'make (test|docs)': '.ci/run', r'make gpu': 'Makefile',
    r'make stacks': 'tools/misc/test_stacks.sh', r'pip install -e': 'Makefile',
    r'pip install (mmcv-lite|scikit-image)': 'Makefile',
    r'pip install (h5py|pydensecrf2|openvino|onnxruntime)': 'requirements/optional.txt',
    r'python -c': 'tests/conftest.py', r'mim ': 'tests/test_packaging/test_wheel.py',
    r'srun .*generate': 'tests/test_proposals/test_proposal_tools.py',
    r'srun .*mine_cues|train.py .*work_dirs/mined': 'tests/test_tools/test_mine_cues.py',
    r'srun .*export': 'tests/test_tools/test_export_pseudo_labels.py',
    r'tools/(dist|slurm)_\w+.sh': 'tests/test_tools/test_several_processes.py',
    r'python .*photos|iam-plus_mbv2_own': 'tests/test_tools/test_own_data.py',
    r'sod-env|-m venv sod-env': 'tests/test_tools/test_compare_saliency_metric.py',
    r'check_env': 'tests/test_tools/test_check_env.py', r'download.py NAME': 'tests/test_tools/test_download_tool.py',
    r'-m pytest': 'Makefile',
    r'critters': 'tests/test_tools/test_run_demo.py',
    r'classifier2mmiam': 'tests/test_tools/test_model_converters.py',
    r'convert.py|compare_generators': 'tests/test_proposals/test_proposal_tools.py',
    r'trials\.py': 'tests/test_tools/test_trials.py',
    r'train_frozen': 'tests/test_tools/test_train_frozen.py',
    r'evaluate_clicks': 'tests/test_tools/test_evaluate_clicks.py',
    r'benchmark.py ': 'tests/test_tools/test_benchmark.py',
    r'configs/given/': 'tests/test_configs/test_given_configs.py',
    r'table1\.py|voc_table1/': 'tests/test_tools/test_table1_tool.py',
    r'retrain/': 'tests/test_configs/test_retrain_configs.py',
    r'cub-loc': 'tests/test_configs/test_localization_configs.py',
    r'r50_saliency': 'tests/test_configs/test_saliency_configs.py',
}
#: what the words in capitals stand for
GIVEN = {'IMAGE': f'{VOC}/JPEGImages/v0.jpg', 'IMAGES': f'{VOC}/JPEGImages', 'OUT': 'data/out',
         'CONFIG': 'configs/iam_r50_voc.py'}


#: flags before the name of what a command writes
WRITES = {'--out', '--json', '--sheet', '--out-dir'}
#: what was run, less the names of checkpoints and folders: pages repeat one another
DONE: set[str] = set()


def elsewhere(words: list[str]) -> str | None:
    line = ' '.join(words)
    return next((test for pattern, test in ELSEWHERE.items() if re.search(pattern, line)), None)


def shrink(cfg: Config) -> Config:
    """The same config with a network, images and a schedule that take seconds; what options name stays."""
    if cfg.get('model', {}).get('type') != 'IAMNet':
        return cfg
    model = cfg.model
    if model.backbone.type == 'ResNet':
        model.backbone.update(depth=18, base_channels=8, init_cfg=None)
        model.peak_head.in_channels, channels = 64, (8, 16, 32)
    elif model.backbone.type == 'EfficientNetLite':  # it has no width to shrink, and is quick on 64 x 64
        channels = model.filler.in_channels
    else:
        model.backbone.update(widen_factor=.1, init_cfg=None)
        channels = (8, 8, 16)
    model.peak_head.update(class_thr=-50., peak_thr=-50., sub_pixel=1, max_peaks=2)
    model.sampler.update(overlap_thr=0., min_score=None, area_range=(2e-5, .85))
    model.filler.update(in_channels=channels, channels=2, hidden_channels=4, num_steps=2, num_stacks=1)
    if model.get('cue', {}).get('classifier'):
        model.cue.classifier.update(checkpoint=None)
        model.cue.classifier.backbone.widen_factor = .1
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=1)
        for step in loader.dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (64, 64)
    cfg.train_cfg.max_epochs = 2
    cfg.custom_hooks[0].fill_begin = 1
    return cfg


@pytest.fixture(scope='module')
def house(tmp_path_factory):
    """The folder: configs of the project, VOC, proposals of its images under each name that the pages use."""
    from mmiam.proposals.generators import SelectiveMerging
    folder = tmp_path_factory.mktemp('house')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    root = build_mini_voc(folder / VOC)
    shutil.copy(root / 'ImageSets/Segmentation/train.txt', root / 'ImageSets/Segmentation/train_aug.txt')
    for path in (root / 'JPEGImages').iterdir():
        SelectiveMerging()(np.array(Image.open(path))).save(folder / f'data/proposals/builtin/{path.stem}.npz')
    for name in ('voc2012', 'earlier'):
        shutil.copytree(folder / 'data/proposals/builtin', folder / f'data/proposals/{name}')
    return folder


@pytest.fixture
def run(call_tool, house, monkeypatch):
    """``run(words)`` calls a tool; a checkpoint that it names and that is not there has random weights."""
    read = Config.fromfile
    monkeypatch.chdir(house)
    for name in ('VOC_ROOT', 'VOC_PROPOSALS', 'PSEUDO_LABELS', 'MMIAM_MBV2_WEIGHTS', 'MMIAM_R50_WEIGHTS'):
        monkeypatch.delenv(name, raising=False)  # the user's own places
    monkeypatch.setattr(Config, 'fromfile', staticmethod(lambda *args, **kwargs: shrink(read(*args, **kwargs))))

    def random_weights(path, config):
        torch.manual_seed(0)
        cfg = Config.fromfile(config)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        classes = cfg.test_dataloader.dataset.get('metainfo', {}).get('classes')
        outputs = cfg.model.get('peak_head', {}).get('num_classes')
        if classes and outputs and len(classes) != outputs:  # of a model that was trained on more of VOC's classes
            classes = VOC_CLASSES[:outputs]
        meta = dict(dataset_meta=dict(classes=classes)) if classes else {}
        torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta=meta), path)

    def run(words):
        assert words.pop(0) == 'python'
        words = [GIVEN.get(word, word) for word in words]
        config = next((word for word in words if word.startswith('configs/')), 'configs/iam-plus_mbv2_voc.py')
        out = {words[i + 1] for i, word in enumerate(words) if word in ('--out', '--note')} | set(words[-1:])
        words = [word.replace('CHECKPOINT', f'work_dirs/{Path(config).stem}/random.pth') for word in words]
        for word in words:
            path = word.removeprefix('load_from=')
            if path.endswith('.pth') and path not in out - {words[2]} and not Path(path).exists():
                random_weights(path, config)
        for flag in WRITES.intersection(words):
            path = Path(words[words.index(flag) + 1])
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        assert call_tool(*words) in (None, 0), words
        for flag in WRITES.intersection(words):
            path = Path(words[words.index(flag) + 1])  # of several evaluators each has a file: out_CAM.json, ...
            assert path.exists() or any(path.parent.glob(f'{path.stem}_*{path.suffix}')), f'{words} wrote no {flag}'

    return run


@pytest.mark.parametrize('page', sorted({page for page, _ in BLOCKS}))
def test_commands_of_a_page_run(page, run, calls, house, capsys):  # noqa: F811
    for script in [script for name, script in BLOCKS if name == page]:
        for words in calls(script):
            words[0] = words[0].removeprefix(str(calls.home) + '/')
            key = re.sub(r'work_dirs/\S+|CHECKPOINT|seed=\d', '', ' '.join(words))
            if elsewhere(words) is None and key not in DONE:
                run(words)
                DONE.add(key)
