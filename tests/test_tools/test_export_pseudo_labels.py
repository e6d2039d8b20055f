"""``tools/export_pseudo_labels.py`` on a model with random weights: content, shards, resumption, refusals."""
import json

import pytest
import torch
from mmdet.registry import DATASETS
from support import load_tool

#: image-level labels of the miniature data set's training images, by class index
TAGS = {'t0.jpg': [0], 't1.jpg': [1, 2], 't2.jpg': [0]}


@pytest.fixture
def export(tiny_files, tmp_path, monkeypatch):
    """``export(*flags, out='out.json')`` -> exit status, on a checkpoint of random weights."""
    tool = load_tool('tools/export_pseudo_labels.py')
    monkeypatch.chdir(tmp_path)

    def run(*flags, out='out.json', checkpoint='tiny.pth'):
        return tool.main(['tiny.py', checkpoint, '--out', out, '--device', 'cpu', *flags])

    run.tool = tool
    return run


def test_file_is_consistent_and_mmdet_reads_it(export, tmp_path, capsys):
    assert export() == 0
    content = json.loads((tmp_path / 'out.json').read_text())
    tags = {image['id']: image['category_ids'] for image in content['images']}
    assert {image['file_name']: [i - 1 for i in image['category_ids']] for image in content['images']} == TAGS
    assert content['annotations'] and all(a['category_id'] in tags[a['image_id']] for a in content['annotations'])
    assert {a['image_id'] for a in content['annotations']} == {1, 2, 3}
    info = content['info']
    assert info['config'] == 'tiny.py' and len(info['checkpoint_sha256']) == 64 and 'mmiam' in info['version']

    root = next(tmp_path.glob('mini_voc_*'))
    data = DATASETS.build(dict(
        type='CocoDataset', ann_file=str(tmp_path / 'out.json'), data_prefix=dict(img=str(root / 'JPEGImages')),
        metainfo=dict(classes=('cat', 'dog', 'person')), filter_cfg=dict(filter_empty_gt=True, min_size=1),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                  dict(type='PackDetInputs')]))
    assert len(data) == 3
    for index in range(3):
        sample = data[index]['data_samples']
        own = [a for a in content['annotations'] if a['image_id'] == index + 1]
        assert sample.gt_instances.labels.tolist() == [a['category_id'] - 1 for a in own]
        areas = sample.gt_instances.masks.masks.sum((1, 2)).tolist()
        assert areas == [a['area'] for a in own]


def test_shards_and_a_second_run(export, tmp_path, capsys, monkeypatch):
    assert export(out='whole.json') == 0
    assert export('--shard', '1/2') == 0 and not (tmp_path / 'out.json').exists()
    assert '2 of 3 images are left for other shards' in capsys.readouterr().out
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert export('--shard', 'auto') == 0
    assert (tmp_path / 'out.json').read_bytes() == (tmp_path / 'whole.json').read_bytes()
    # a second run makes only what is missing, and no model is needed for the rest
    parts = sorted(path for path in (tmp_path / 'out.json.parts').glob('*.json') if path.name != 'info.json')
    times = [path.stat().st_mtime_ns for path in parts]
    parts[1].unlink()
    assert export() == 0 and '2 of 3 images are labeled already' in capsys.readouterr().out
    again = [path.stat().st_mtime_ns for path in parts]
    assert again[0] == times[0] and again[2] == times[2] and again[1] != times[1]
    assert (tmp_path / 'out.json').read_bytes() == (tmp_path / 'whole.json').read_bytes()
    monkeypatch.setattr(export.tool, 'init_model', None)
    assert export() == 0


def test_refusals_and_broken_images(export, tmp_path, capsys):
    assert export(checkpoint='none.pth') == 2 and 'none.pth does not exist' in capsys.readouterr().err
    assert export('--shard', '2/2') == 2 and 'shard' in capsys.readouterr().err
    assert export() == 0
    assert export('--min-score', '0.5') == 2
    assert 'out.json.parts holds parts of another run (min_score differ)' in capsys.readouterr().err


def test_one_broken_image_does_not_cost_the_others(export, tmp_path, capsys):
    image = next(tmp_path.glob('mini_voc_*')) / 'JPEGImages/t1.jpg'
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    assert export() == 1
    assert 'failed: t1.jpg' in capsys.readouterr().err
    content = json.loads((tmp_path / 'out.json').read_text())
    assert [(one['id'], one['file_name']) for one in content['images']] == [(1, 't0.jpg'), (3, 't2.jpg')]
    entry, = content['info']['failed']
    assert entry['file_name'] == 't1.jpg' and 't1.jpg' in entry['error']
    image.write_bytes(whole)  # mended: it alone is labeled
    assert export() == 0 and '2 of 3 images are labeled already' in capsys.readouterr().out
    assert 'failed' not in json.loads((tmp_path / 'out.json').read_text())['info']
    names = image.parents[1] / 'ImageSets/Segmentation/train.txt'
    names.write_text('t0\nt2\n')  # taken out: the rest is kept
    image.write_bytes(whole[:200])
    assert export() == 0 and '2 of 2 images are labeled already' in capsys.readouterr().out


def test_whatever_the_model_raises_on_one_image(export, monkeypatch, tmp_path, capsys):
    real = export.tool.init_model

    def fragile(*args, **kwargs):
        model = real(*args, **kwargs)
        predict = model.test_step

        def step(data):
            if data['data_samples'][0].img_path.endswith('t0.jpg'):
                raise RuntimeError('out of memory')
            found = predict(data)
            if found[0].img_path.endswith('t1.jpg'):
                found[0].pred_instances.scores[:] = float('nan')
            return found
        model.test_step = step
        return model

    monkeypatch.setattr(export.tool, 'init_model', fragile)
    assert export() == 1
    failed = json.loads((tmp_path / 'out.json').read_text())['info']['failed']
    assert [one['file_name'] for one in failed] == ['t0.jpg', 't1.jpg']
    assert failed[0]['error'] == 'RuntimeError: out of memory' and 'scores are NaN' in failed[1]['error']


def test_classes_in_another_order(export, tmp_path, capsys):
    """The same masks with the same names, whatever the order in which the classifier learned them."""
    assert export(out='first.json') == 0
    content = torch.load(tmp_path / 'tiny.pth', weights_only=True)
    for part in ('weight', 'bias'):
        name = f'peak_head.classifier.{part}'
        content['state_dict'][name] = content['state_dict'][name][[2, 0, 1]]
    content['meta']['dataset_meta']['classes'] = ('person', 'cat', 'dog')
    torch.save(content, tmp_path / 'turned.pth')
    assert export(out='second.json', checkpoint='turned.pth') == 0
    first, second = (json.loads((tmp_path / name).read_text()) for name in ('first.json', 'second.json'))
    assert first['annotations'] == second['annotations'] and first['annotations']
    content['meta']['dataset_meta']['classes'] = ('person', 'cat', 'cow')
    torch.save(content, tmp_path / 'other.pth')
    assert export(out='third.json', checkpoint='other.pth') == 2
    assert 'cow, dog are in one alone' in capsys.readouterr().err
