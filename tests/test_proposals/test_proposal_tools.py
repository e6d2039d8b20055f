"""The command line tools for proposals."""
import json
import os

import numpy as np
import pytest
from PIL import Image
from support import load_tool
from test_selective_merging import scene

from mmiam.proposals.io import load_proposals


@pytest.fixture
def tool(call_tool):
    """``tool(name, *words)`` -> exit status."""
    return lambda name, *words: call_tool(f'tools/proposals/{name}.py', *words)


@pytest.fixture
def voc(tmp_path):
    """Three images with two instances each, classes 3 and 8, in VOC's layout; a void pixel row."""
    root = tmp_path / 'VOCdevkit' / 'VOC2012'
    for name in ('JPEGImages', 'SegmentationClass', 'SegmentationObject', 'ImageSets/Segmentation'):
        (root / name).mkdir(parents=True)
    for i in range(3):
        image, masks = scene(seed=i)
        Image.fromarray(image).save(root / 'JPEGImages' / f'im{i}.jpg', quality=95)
        objects = (masks[0] + 2 * masks[1]).astype(np.uint8)
        classes = np.array([0, 3, 8], np.uint8)[objects]
        objects[45], classes[45] = 255, 255
        for folder, values in (('SegmentationObject', objects), ('SegmentationClass', classes)):
            Image.fromarray(values).save(root / folder / f'im{i}.png')
    (root / 'ImageSets/Segmentation/val.txt').write_text('im0\nim2\n\n')
    return root


@pytest.mark.parametrize('workers', [1, 2])
def test_generate_resumes_and_evaluate_reports(voc, tmp_path, workers, tool, capsys):
    out = tmp_path / 'out'
    words = ['generate', voc / 'JPEGImages', out, '--ids', voc / 'ImageSets/Segmentation/val.txt', '--workers', workers]
    assert tool(*words) == 0
    assert sorted(p.name for p in out.iterdir()) == ['im0.npz', 'im2.npz']
    kept = os.stat(out / 'im0.npz').st_mtime_ns
    (out / 'im2.npz').unlink()
    assert tool(*words) == 0
    assert os.stat(out / 'im0.npz').st_mtime_ns == kept and (out / 'im2.npz').exists()
    assert '1 of 2 files exist already' in capsys.readouterr().out

    figures = tmp_path / 'out.json'
    assert tool('evaluate', out, '--voc-root', voc.parent, '--json', figures) == 0
    result = json.loads(figures.read_text())
    assert result['num_images'] == 2 and result['num_instances'] == 4
    assert result['mean_best_iou'] > .85 and result['recall_50'] == result['recall_50_at_200'] == 1
    assert set(result['abo_per_class']) == {'bird', 'cat'} and result['seconds_per_image'] > 0
    printed = capsys.readouterr().out
    assert f'{100 * result["mean_best_iou"]:.1f}' in printed and 'bird' in printed
    assert tool('evaluate', out, '--voc-root', voc, '--keep-void', '--json', figures) == 0
    assert json.loads(figures.read_text())['mean_best_iou'] < result['mean_best_iou']


def test_generate_names_broken_images_and_goes_on(voc, tmp_path, tool, capsys):
    images = voc / 'JPEGImages'
    (images / 'im1.jpg').write_bytes((images / 'im0.jpg').read_bytes()[:200])
    (images / 'im3.jpg').write_bytes(b'')
    Image.new('L', (30, 20)).save(images / 'gray.png')
    Image.new('RGBA', (30, 20)).save(images / 'alpha.png')
    assert tool('generate', images, tmp_path / 'out') == 1
    assert sorted(p.stem for p in (tmp_path / 'out').iterdir()) == ['alpha', 'gray', 'im0', 'im2']
    printed = capsys.readouterr().out
    assert 'im1.jpg' in printed and 'im3.jpg' in printed and '4 of 6 files' in printed


@pytest.mark.parametrize('words, status, message', [
    ('generate nowhere out', 2, 'nowhere'), ('generate {images} out --ids ids.txt', 2, "'none'"),
    ('generate {images} out --shard 3/3', 2, '3/3'), ('convert nowhere out', 2, 'nowhere'),
    ('convert {images} {images}', 2, 'IN and OUT must differ'),
    ('convert both out', 2, 'a.json and both/a.npz would both become out/a.npz'),
    ('evaluate out --voc-root {voc} --split test', 2, 'test.txt'), ('evaluate out --voc-root {voc}', 2, "'im0'"),
    ('generate {images} ids.txt/out', 1, 'cannot be written (Not a directory): make room, or choose')])
def test_errors_are_a_sentence(words, status, message, voc, tmp_path, tool, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'ids.txt').write_text('im0\nnone\n')
    (tmp_path / 'both').mkdir()
    for name in ('a.npz', 'a.json'):
        (tmp_path / 'both' / name).touch()
    assert tool(*words.format(images=voc / 'JPEGImages', voc=voc).split()) == status
    captured = capsys.readouterr()
    assert message in captured.err and 'Traceback' not in captured.err + captured.out


@pytest.mark.parametrize('workers', [1, 2])
def test_convert(voc, tmp_path, workers, tool, capsys):
    source, out = tmp_path / 'in', tmp_path / 'out'
    (source / 'im0').mkdir(parents=True)
    masks = scene()[1]
    for i, mask in enumerate(masks):
        Image.fromarray(mask).save(source / 'im0' / f'{i}.png')
    np.savez(source / 'im1.npz', masks=masks)
    np.savez(source / 'im2.npz', masks=masks.transpose(0, 2, 1))
    (source / 'im3.json').write_text('[')
    words = ['convert', source, out, '--images', voc / 'JPEGImages', '--workers', workers]
    assert tool(*words) == 1
    printed = capsys.readouterr().out
    assert 'im2.npz' in printed and 'transposed' in printed and 'no image named im3' in printed
    for name in ('im0', 'im1'):
        np.testing.assert_array_equal(load_proposals(out / f'{name}.npz').masks(), masks)
    assert not (out / 'im2.npz').exists()
    assert tool(*words, '--max-proposals', '1', '--overwrite', '--format', 'npz') == 1
    assert len(load_proposals(out / 'im1.npz')) == 1
    assert tool('convert', source, tmp_path / 'new', '--ids', voc / 'ImageSets/Segmentation/val.txt') == 0
    assert sorted(p.name for p in (tmp_path / 'new').iterdir()) == ['im0.npz', 'im2.npz']


def test_files_of_one_stem_are_refused_unless_named(voc, tmp_path, tool, capsys):
    images, out = voc / 'JPEGImages', tmp_path / 'out'
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(images / 'im0.png')
    assert tool('generate', images, out) == 2
    assert 'im0.jpg and im0.png differ in the suffix alone' in capsys.readouterr().err
    (tmp_path / 'ids.txt').write_text('im0.jpg\nim1\n')
    assert tool('generate', images, out, '--ids', tmp_path / 'ids.txt') == 0
    assert load_proposals(out / 'im0.npz').size == scene()[0].shape[:2]


def test_photos_of_phones_have_one_size(tmp_path, tool, capsys):
    """Generator and converter take the size that the data set has, turned by EXIF."""
    exif = Image.Exif()
    exif[0x112] = 6
    image, masks = scene()
    for name in ('photos', 'turned', 'raw'):
        (tmp_path / name).mkdir()
    Image.fromarray(image).save(tmp_path / 'photos/a.jpg', exif=exif.tobytes())
    np.savez(tmp_path / 'turned/a.npz', masks=masks.transpose(0, 2, 1))
    np.savez(tmp_path / 'raw/a.npz', masks=masks)
    assert tool('generate', tmp_path / 'photos', tmp_path / 'made') == 0
    assert load_proposals(tmp_path / 'made/a.npz').size == image.shape[1::-1]
    for name, status in (('turned', 0), ('raw', 1)):
        assert tool('convert', tmp_path / name, tmp_path / 'out' / name, '--images', tmp_path / 'photos') == status
    assert 'transposed' in capsys.readouterr().out


def test_settings_of_the_generator_can_be_compared(voc, tmp_path, tool, capsys):
    names = ['one tree', 'default without edges', 'default on SLIC']
    words = ['compare_generators', voc, '--limit', '1', '--json', tmp_path / 'out.json', '--only', *names]
    assert tool(*words) == 0
    result = json.loads((tmp_path / 'out.json').read_text())
    assert list(result) == names
    for figures in result.values():
        assert figures['num_instances'] == 2 and 0.3 < figures['mean_best_iou'] <= 1
    assert result['one tree']['mean_proposals'] < result['default without edges']['mean_proposals']
    assert '| one tree ' in capsys.readouterr().out


def test_figures_by_hand(monkeypatch):
    evaluate = load_tool('tools/proposals/evaluate.py')
    monkeypatch.setattr(evaluate, 'COUNTS', (1, 2))
    monkeypatch.setattr(evaluate, 'SUFFIXES', ('_at_1', '_at_2', ''))
    best = evaluate.best_so_far(np.array([[.2, .6, .9], [.1, .4, .4], [.8, .1, .1]]))
    assert best.tolist() == [[.2, .6, .9], [.1, .4, .4], [.8, .8, .8]]
    assert evaluate.best_so_far(np.zeros((2, 0))).tolist() == [[0, 0, 0]] * 2
    result = evaluate.summarize([evaluate.ImageFigures(best[:2], [0, 0], 3, .5),
                                 evaluate.ImageFigures(best[2:], [1], 5, None)])
    assert result['mean_best_iou_at_2'] == pytest.approx(.6)
    assert result['mean_best_iou'] == pytest.approx(.7)
    assert (result['recall_50_at_1'], result['recall_70'], result['recall_90']) == pytest.approx((1 / 3, 2 / 3, 1 / 3))
    assert result['abo_per_class'] == pytest.approx(dict(aeroplane=.65, bicycle=.8))
    assert result['abo'] == pytest.approx(.725)
    assert [result[key] for key in ('num_images', 'num_instances', 'mean_proposals', 'seconds_per_image')] == [
        2, 3, 4., .5]
    nothing = evaluate.summarize([evaluate.ImageFigures(np.zeros((0, 3)), [], 4, None)])
    assert np.isnan(nothing['mean_best_iou']) and np.isnan(nothing['abo']) and nothing['num_instances'] == 0
