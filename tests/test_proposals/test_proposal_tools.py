"""The command line tools for proposals."""
import importlib.util
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from test_selective_merging import scene

from mmiam.proposals.io import load_proposals


def tool(name, folder='proposals'):
    spec = importlib.util.spec_from_file_location(f'proposal_tool_{name}', ROOT / 'tools' / folder / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / 'tools' / folder))
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.path[0]
    sys.modules[spec.name] = module  # worker processes look the job's class up by name
    return module


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
def test_generate_resumes_and_evaluate_reports(voc, tmp_path, workers, capsys):
    out, ids = tmp_path / 'out', voc / 'ImageSets/Segmentation/val.txt'
    args = [str(voc / 'JPEGImages'), str(out), '--ids', str(ids), '--workers', str(workers)]
    assert tool('generate').main(args) == 0
    assert sorted(p.name for p in out.iterdir()) == ['im0.npz', 'im2.npz']
    kept = os.stat(out / 'im0.npz').st_mtime_ns
    (out / 'im2.npz').unlink()
    assert tool('generate').main(args) == 0
    assert os.stat(out / 'im0.npz').st_mtime_ns == kept and (out / 'im2.npz').exists()
    assert '1 of 2 files exist already' in capsys.readouterr().out

    figures = tmp_path / 'out.json'
    assert tool('evaluate').main([str(out), '--voc-root', str(voc.parent), '--json', str(figures)]) == 0
    result = json.loads(figures.read_text())
    assert result['num_images'] == 2 and result['num_instances'] == 4
    assert result['mean_best_iou'] > .85 and result['recall_50'] == result['recall_50_at_200'] == 1
    assert set(result['abo_per_class']) == {'bird', 'cat'} and result['seconds_per_image'] > 0
    printed = capsys.readouterr().out
    assert f'{100 * result["mean_best_iou"]:.1f}' in printed and 'bird' in printed


def test_generate_names_broken_images_and_goes_on(voc, tmp_path, capsys):
    images = voc / 'JPEGImages'
    (images / 'im1.jpg').write_bytes((images / 'im0.jpg').read_bytes()[:200])
    (images / 'im3.jpg').write_bytes(b'')
    Image.new('L', (30, 20)).save(images / 'gray.png')
    Image.new('RGBA', (30, 20)).save(images / 'alpha.png')
    assert tool('generate').main([str(images), str(tmp_path / 'out')]) == 1
    assert sorted(p.stem for p in (tmp_path / 'out').iterdir()) == ['alpha', 'gray', 'im0', 'im2']
    printed = capsys.readouterr().out
    assert 'im1.jpg' in printed and 'im3.jpg' in printed and '4 of 6 files' in printed


def test_bad_arguments_end_with_status_2(voc, tmp_path, capsys):
    generate, out = tool('generate'), str(tmp_path / 'out')
    (tmp_path / 'ids.txt').write_text('im0\nnone\n')
    assert generate.main([str(tmp_path / 'nowhere'), out]) == 2
    assert generate.main([str(voc / 'JPEGImages'), out, '--ids', str(tmp_path / 'ids.txt')]) == 2
    assert generate.main([str(voc / 'JPEGImages'), out, '--shard', '3/3']) == 2
    assert tool('convert').main([str(tmp_path / 'nowhere'), out]) == 2
    assert tool('evaluate').main([str(tmp_path), '--voc-root', str(voc), '--split', 'test']) == 2
    assert tool('evaluate').main([str(tmp_path), '--voc-root', str(voc)]) == 2
    errors = capsys.readouterr().err
    assert "'none'" in errors and 'test.txt' in errors and "'im0'" in errors


@pytest.mark.parametrize('workers', [1, 2])
def test_convert(voc, tmp_path, workers, capsys):
    source = tmp_path / 'in'
    (source / 'im0').mkdir(parents=True)
    masks = scene()[1]
    for i, mask in enumerate(masks):
        Image.fromarray(mask).save(source / 'im0' / f'{i}.png')
    np.savez(source / 'im1.npz', masks=masks)
    np.savez(source / 'im2.npz', masks=masks.transpose(0, 2, 1))
    (source / 'im3.json').write_text('[')
    args = [str(source), str(tmp_path / 'out'), '--images', str(voc / 'JPEGImages'), '--workers', str(workers)]
    assert tool('convert').main(args) == 1
    printed = capsys.readouterr().out
    assert 'im2.npz' in printed and 'transposed' in printed and 'no image named im3' in printed
    for name in ('im0', 'im1'):
        np.testing.assert_array_equal(load_proposals(tmp_path / 'out' / f'{name}.npz').masks(), masks)
    assert not (tmp_path / 'out' / 'im2.npz').exists()
    assert tool('convert').main([*args, '--max-proposals', '1', '--overwrite', '--format', 'npz']) == 1
    assert len(load_proposals(tmp_path / 'out' / 'im1.npz')) == 1
    assert tool('convert').main([str(source), str(source)]) == 2


def test_settings_of_the_generator_can_be_compared(voc):
    compare = tool('compare_generators')
    names = ['one tree', 'default without edges', 'default on SLIC']
    result = compare.compare(voc, ['im0', 'im1'], workers=1, names=names)
    assert list(result) == names
    for figures in result.values():
        assert figures['num_instances'] == 4 and 0.3 < figures['mean_best_iou'] <= 1
    assert result['one tree']['mean_proposals'] < result['default without edges']['mean_proposals']
    assert 'one tree' in compare.table(result)


def test_files_of_one_stem_are_refused_unless_named(voc, tmp_path, capsys):
    images, out = voc / 'JPEGImages', str(tmp_path / 'out')
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(images / 'im0.png')
    assert tool('generate').main([str(images), out]) == 2
    assert 'im0.jpg and im0.png differ in the suffix alone' in capsys.readouterr().err
    (tmp_path / 'ids.txt').write_text('im0.jpg\nim1\n')
    assert tool('generate').main([str(images), out, '--ids', str(tmp_path / 'ids.txt')]) == 0
    assert load_proposals(tmp_path / 'out/im0.npz').size == scene()[0].shape[:2]
    (tmp_path / 'in').mkdir()
    for name in ('a.npz', 'a.json'):
        (tmp_path / 'in' / name).touch()
    assert tool('convert').main([str(tmp_path / 'in'), out]) == 2
    assert 'would both become' in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_a_sentence(voc, tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert tool('generate').main([str(voc / 'JPEGImages'), str(tmp_path / 'file' / 'out')]) == 1
    captured = capsys.readouterr()
    assert 'cannot be written (Not a directory): make room, or choose' in captured.err
    assert 'Traceback' not in captured.err + captured.out


def test_photos_of_phones_have_one_size(voc, tmp_path, capsys):
    """Generator and converter take the size that the data set has, turned by EXIF."""
    exif = Image.Exif()
    exif[0x112] = 6
    image, masks = scene()
    (tmp_path / 'photos').mkdir()
    Image.fromarray(image).save(tmp_path / 'photos/a.jpg', exif=exif.tobytes())
    assert tool('generate').main([str(tmp_path / 'photos'), str(tmp_path / 'made')]) == 0
    assert load_proposals(tmp_path / 'made/a.npz').size == image.shape[1::-1]
    for name, shown in (('turned', masks.transpose(0, 2, 1)), ('raw', masks)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / 'a.npz', masks=shown)
        status = tool('convert').main([str(tmp_path / name), str(tmp_path / 'out' / name), '--images',
                                       str(tmp_path / 'photos')])
        assert status == (name == 'raw')
    assert 'transposed' in capsys.readouterr().out
