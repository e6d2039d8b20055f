"""The metafiles against the configs and the model zoo."""
import re

import pytest
from mmengine.config import Config
from support import ROOT

from mmiam.engine.model_zoo import load_models

MODELS = load_models(ROOT / 'model-index.yml')


def test_every_config_is_listed_once_under_its_own_name():
    files = [path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts]
    listed = [model['Config'] for model in MODELS.values()]
    assert sorted(listed) == sorted(path.relative_to(ROOT).as_posix() for path in files), \
        'add or remove entries in the metafile.yml beside the configs'
    for name, model in MODELS.items():
        assert name == model['Config'].removeprefix('configs/').removesuffix('.py').replace('/', '_')


@pytest.mark.parametrize('name', sorted(MODELS))
def test_metadata_are_those_of_the_config(name):
    model = MODELS[name]
    cfg = Config.fromfile(ROOT / model['Config'])
    metadata = model.get('Metadata') or {}
    if 'Epochs' in metadata:
        assert metadata['Epochs'] == cfg.train_cfg.max_epochs
    if 'Batch Size' in metadata:
        assert metadata['Batch Size'] == cfg.train_dataloader.batch_size
    backbone = cfg.model.get('backbone') or (cfg.model.get('detector') or {}).get('backbone') or {}
    if 'Backbone' in metadata and backbone:
        depth = f'-{backbone.depth}' if backbone.get('depth') and not isinstance(backbone.depth, str) else ''
        assert metadata['Backbone'] == backbone.type + depth


def test_weights_come_with_their_hash():
    for name, model in MODELS.items():
        if 'Weights' in model:
            assert re.fullmatch('[0-9a-f]{64}', model['Metadata']['SHA256']), name
