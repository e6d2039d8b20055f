"""Own photos in one command, on a small network in place of EfficientNet-Lite2."""
import json

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image, ImageDraw
from support import ROOT

from mmiam import zoo
from mmiam.apis import own_photos
from mmiam.cli import main

SMALL = f'''
_base_ = '{ROOT / "configs/iam-plus_lite2_own.py"}'
model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=18, base_channels=8),
    peak_head=dict(in_channels=64), sampler=dict(min_score=None, overlap_thr=0.),
    filler=dict(in_channels=(8, 16, 32), channels=4, num_steps=2, context_channels=4),
    post_processor=dict(crf=None, mask_thr=0.01))
steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=False)]
train_dataloader = dict(dataset=dict(pipeline=[
    steps[0], dict(type='LoadSegmentProposals', proposal_root='?'), steps[1], dict(type='RandomFlip', prob=0.5),
    dict(type='AlignSegmentProposals'), dict(type='PackWeakInputs')]))
val_dataloader = dict(dataset=dict(pipeline=[*steps, dict(type='PackWeakInputs')]))
test_dataloader = val_dataloader
'''


def draw(path, color, seed):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(90, 130, (48, 64, 3), dtype=np.uint8))
    x, y = rng.integers(4, 24, 2).tolist()
    ImageDraw.Draw(image).ellipse((x, y, x + 30, y + 20), fill=color)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder with three photos of each of two classes; the published model is a small one."""
    for tag, color in (('cat', (220, 60, 40)), ('dog', (40, 90, 220))):
        for number in range(3):
            draw(tmp_path / f'photos/{tag}/{number}.jpg', color, number)
    (tmp_path / 'small.py').write_text(SMALL)
    torch.manual_seed(0)
    filler = MODELS.build(Config.fromfile(tmp_path / 'small.py').model.filler)
    torch.save(dict(state_dict={f'filler.{key}': value for key, value in filler.state_dict().items()}),
               tmp_path / 'small.pth')
    config, weights = zoo.config_file, zoo.weights_file
    monkeypatch.setattr(zoo, 'config_file', lambda name: str(tmp_path / 'small.py') if name == own_photos.CONFIG else
                        config(name))
    monkeypatch.setattr(zoo, 'weights_file', lambda name: str(tmp_path / 'small.pth') if name == 'voc20' else
                        weights(name))
    monkeypatch.setattr('os.cpu_count', lambda: 1)
    monkeypatch.setattr(own_photos, 'LEAST_MASKS', 4)
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'photos'


LABEL = ('label', 'photos', '--device', 'cpu', '--effort', '0.1')


def test_masks_pictures_and_a_model_for_other_photos(photos, tmp_path, capsys, monkeypatch):
    assert main([*LABEL, '--out', 'masks.json']) == 0
    printed = capsys.readouterr().out
    for words in ('pictures:   masks/pictures', 'checkpoint: masks/model.pth', 'predict OTHER_PHOTOS --model masks'):
        assert words in printed
    log = (tmp_path / 'masks/label.log').read_text()
    assert 'photos: 3 cat, 3 dog' in log and 'AP, held back' in log
    for name in ('cat', 'dog'):  # which of the two depends on the network, which is random here
        assert f'{name} has 3 photos' in log or f'{name} is hardly told' in log
    content = json.loads((tmp_path / 'masks.json').read_text())
    assert [one['name'] for one in content['categories']] == ['cat', 'dog'] and len(content['images']) == 6
    names = {image['id']: image['file_name'] for image in content['images']}
    for one in content['annotations']:  # of its tag alone, and each photo has one
        assert names[one['image_id']].startswith(('cat', 'dog')[one['category_id'] - 1])
    assert {one['image_id'] for one in content['annotations']} == set(names)
    assert len(list((tmp_path / 'masks/pictures').rglob('*.jpg'))) == 6
    # a second call makes nothing anew, and labels a photo that was added
    before = (tmp_path / 'masks/model.pth').read_bytes(), (tmp_path / 'masks.json').read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(own_photos, 'init_model', None)
        assert main([*LABEL, '--out', 'masks.json']) == 0
    assert before == ((tmp_path / 'masks/model.pth').read_bytes(), (tmp_path / 'masks.json').read_bytes())
    draw(photos / 'dog/new.jpg', (40, 90, 220), 9)
    assert main([*LABEL, '--out', 'masks.json']) == 0
    assert len(json.loads((tmp_path / 'masks.json').read_text())['images']) == 7
    # what was learned is enough: no photos, no variables, the classes are those of the checkpoint
    photos.rename(tmp_path / 'moved')
    assert main(['predict', 'moved/dog/0.jpg', '--model', 'masks', '--device', 'cpu', '--min-score', '0']) == 0
    found = json.loads((tmp_path / 'outputs/predictions.json').read_text())
    assert [one['name'] for one in found['categories']] == ['cat', 'dog']


def test_tags_of_a_table_and_a_broken_photo(photos, tmp_path, capsys):
    (photos / 'cat/1.jpg').write_bytes(b'no image')
    rows = ('file,tags', *(f'cat/{number}.jpg,red' for number in range(3)), 'dog/0.jpg,"blue,round"', 'dog/1.jpg,blue')
    (tmp_path / 'tags.csv').write_text('\n'.join(rows))
    assert main([*LABEL, '--tags', 'tags.csv', '--out', 'masks.json']) == 1
    assert 'cat/1.jpg' in capsys.readouterr().err  # it is named, and the rest goes on
    content = json.loads((tmp_path / 'masks.json').read_text())
    assert [one['name'] for one in content['categories']] == ['blue', 'red', 'round'] and len(content['images']) == 4


def test_a_single_class_cannot_be_learned(photos, capsys):
    for path in (photos / 'dog').iterdir():
        path.unlink()
    (photos / 'dog').rmdir()
    assert main(list(LABEL)) == 2
    assert 'the class cat alone' in capsys.readouterr().err
