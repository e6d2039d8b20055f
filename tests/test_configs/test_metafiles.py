"""The metafiles against the configs and the model zoo."""
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmiam.engine.model_zoo import load_models

ROOT = Path(__file__).parents[2]
MODELS = load_models(ROOT / 'model-index.yml')


def test_every_config_is_listed_once_under_its_own_name():
    files = [path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts]
    listed = [model['Config'] for model in MODELS.values()]
    assert sorted(listed) == sorted(path.relative_to(ROOT).as_posix() for path in files), \
        'add or remove entries in the metafile.yml beside the configs'
    for name, model in MODELS.items():
        assert name == model['Config'].removeprefix('configs/').removesuffix('.py').replace('/', '_')


def test_every_metafile_is_in_the_index_and_every_collection_exists():
    import yaml
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    assert sorted(index) == sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/**/metafile.yml'))
    collections = {}
    for name in index:
        for collection in yaml.safe_load((ROOT / name).read_text())['Collections']:
            assert collection['Name'] not in collections
            assert (ROOT / collection['README']).is_file()
            collections[collection['Name']] = collection
    assert {model['In Collection'] for model in MODELS.values()} == set(collections)
    for name, model in MODELS.items():
        assert (ROOT / model.get('README', 'README.md')).is_file(), f'{name}: no page {model["README"]}'


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


def test_figures_are_those_of_the_model_zoo():
    """The measured row of a config stands in model-zoo.md, its four figures in one line."""
    zoo = (ROOT / 'model-zoo.md').read_text()
    for name, model in MODELS.items():
        for result in model.get('Results', []):
            figures = [f'{result["Metrics"][key]:.1f}' for key in ('mAP 25', 'mAP 50', 'mAP 75', 'ABO')]
            row = r'\| ' + r' \| '.join(map(re.escape, figures)) + r' \|'
            assert re.search(row, zoo), f'{name}: {figures} are not in model-zoo.md; change its metafile.yml'


def test_weights_come_with_their_hash():
    for name, model in MODELS.items():
        if 'Weights' in model:
            assert re.fullmatch('[0-9a-f]{64}', model['Metadata']['SHA256']), name
