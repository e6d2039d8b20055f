import json

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from support import ROOT


@pytest.fixture
def run_test_tool(call_tool, capsys):
    """``run_test_tool(*words)`` runs tools/test.py; a RuntimeError says what it wrote on stderr if it failed."""

    def run(*words):
        if call_tool('tools/test.py', *words):
            raise RuntimeError(capsys.readouterr().err)

    return run


@pytest.fixture
def evaluate(run_test_tool, monkeypatch, tmp_path):
    """``evaluate(stem, overrides, **environment)`` -> (metrics, log) of tools/test.py with random weights."""
    monkeypatch.chdir(tmp_path)

    def run(stem, overrides, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        cfg = Config.fromfile(ROOT / f'configs/{stem}.py')
        cfg.merge_from_dict(
            {'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False, **overrides})
        cfg.dump('tiny.py')
        torch.manual_seed(0)
        state = MODELS.build(cfg.model).state_dict()
        for name, value in state.items():
            if name.startswith('filler.decoder') and value.shape == (1, ):
                value.fill_(2.)  # so that not all logits are negative
            elif name.startswith('post_processor.classifier.head.classifier.'):
                value.zero_()
                value[0] = float(name.endswith('bias'))  # a second network always says its first class
        torch.save(dict(state_dict=state, meta={}), 'tiny.pth')
        run_test_tool('tiny.py', 'tiny.pth', '--work-dir', 'work')
        metrics = json.loads(max(tmp_path.glob('work/**/2*.json')).read_text())
        return metrics, ''.join(path.read_text() for path in tmp_path.glob('work/**/*.log'))

    return run
