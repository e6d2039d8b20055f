"""Miniature copies of ECSSD, MSRA-B and THUR15K in their published layouts."""
import numpy as np
import pytest
from mmdet.registry import DATASETS
from PIL import Image

from mmiam.datasets.saliency import SaliencyDataset
from mmiam.utils.rle import decode_masks

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='LoadSaliencyMask'), dict(type='PackWeakInputs')]
MSRA_B = dict(data_prefix=dict(img='Imgs', mask='Imgs'))
THUR = dict(data_prefix=dict(img='*/Src', mask='*/Src'), without_mask='skip')
THUR_GT = dict(THUR, data_prefix=dict(img='*/Src', mask='*/GT'))
CLASSES = ('Butterfly', 'CoffeeMug', 'DogJump', 'Giraffe', 'Plane')
#: the images and the masks of each data set; of THUR15K most images have no mask
LAYOUTS = {
    'ecssd': ([f'images/{name}.jpg' for name in ('0002', '0001', '0003')],
              [f'ground_truth_mask/{name}.png' for name in ('0002', '0001', '0003')]),
    'msra_b': ([f'Imgs/{name}.jpg' for name in ('0_0_272', '0_5_5108', '9_99_99964')],
               [f'Imgs/{name}.png' for name in ('0_0_272', '0_5_5108', '9_99_99964')]),
    'thur': ([f'{name}/Src/{number}.jpg' for name in CLASSES for number in (1, 2, 12)],
             [f'{name}/Src/2.png' for name in CLASSES]),
    'thur_gt': ([f'{name}/Src/{number}.jpg' for name in CLASSES for number in (1, 2, 12)],
                [f'{name}/GT/2.png' for name in CLASSES])}


def mask_of(seed):
    mask = np.zeros((12, 10), bool)
    mask[2 + seed:8, 1:4 + seed] = True
    return mask


@pytest.fixture
def layout(tmp_path):
    """``layout(name)`` writes a data set of ``LAYOUTS``; the masks in their order are those of the seeds 0, 1, 2."""
    def write(name):
        pixels = np.random.default_rng(0).integers(0, 255, (12, 10, 3), dtype=np.uint8)
        images, masks = LAYOUTS[name]
        pictures = dict.fromkeys(images, pixels)
        pictures.update((path, mask_of(seed % 3).astype(np.uint8) * 255) for seed, path in enumerate(masks))
        for path, picture in pictures.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / path)
        (tmp_path / 'Readme.txt').write_text('no folder')
        return tmp_path

    return write


def build(root, **kwargs):
    return DATASETS.build(dict(type='SaliencyDataset', data_root=str(root), pipeline=PIPELINE, **kwargs))


@pytest.mark.parametrize('name, kwargs, lines, ids, seeds', [
    ('ecssd', {}, '', ['0001', '0002', '0003'], [1, 0, 2]),
    ('ecssd', dict(data_prefix=dict(img='images/')), '', ['0001', '0002', '0003'], [1, 0, 2]),
    ('msra_b', MSRA_B, '', ['0_0_272', '0_5_5108', '9_99_99964'], [0, 1, 2]),
    ('msra_b', MSRA_B, '9_99_99964.jpg 9_99_99964.png\n\nImgs/0_5_5108.jpg\n', ['9_99_99964', '0_5_5108'], [2, 1]),
    ('thur', THUR, '', [f'{name}/2' for name in CLASSES], [0, 1, 2, 0, 1]),
    ('thur_gt', THUR_GT, '', [f'{name}/2' for name in CLASSES], [0, 1, 2, 0, 1]),
    ('thur_gt', THUR_GT, 'Plane/2\nButterfly/Src/2.jpg\n', ['Plane/2', 'Butterfly/2'], [1, 0])])
def test_published_layouts_and_lists(name, kwargs, lines, ids, seeds, layout, logged):
    root = layout(name)
    (root / 'list.txt').write_text(lines)
    dataset = build(root, ann_file='list.txt' if lines else '', **kwargs)
    samples = [dataset[index] for index in range(len(dataset))]
    assert dataset.test_mode and [sample['data_samples'].img_id for sample in samples] == ids
    assert samples[0]['inputs'].shape == (3, 16, 16) and samples[0]['data_samples'].ori_shape == (12, 10)
    for sample, seed in zip(samples, seeds):
        assert np.array_equal(decode_masks([sample['data_samples'].saliency_mask], (12, 10))[0], mask_of(seed))
    assert [line for line in logged if '10 of 15 images left out' in line] or lines or 'thur' not in name


@pytest.mark.parametrize('name, kwargs, gone, message', [
    ('ecssd', {}, 'images', r'folder .*images does not exist.*data_prefix\[.img.\].*docs/saliency'),
    ('ecssd', {}, 'ground_truth_mask', r'folder .*ground_truth_mask does not exist.*data_prefix\[.mask.\]'),
    ('ecssd', {}, 'ground_truth_mask/0002.png', r'ground_truth_mask/0002\.png does not exist \(1 of 3'),
    ('ecssd', {}, 'images/0003.jpg', r'images/0003\.jpg does not exist \(1 of 3'),
    ('ecssd', dict(ann_file='test.txt'), '', r'image list .*test\.txt does not exist'),
    ('msra_b', MSRA_B, 'Imgs/0_0_272.png', r'Imgs/0_0_272\.png does not'),
    ('msra_b', dict(MSRA_B, img_suffix='.bmp'), '', r'no file \*\.bmp in .*Imgs.*img_suffix'),
    ('thur', dict(THUR, without_mask='error'), '', r'Butterfly/Src/1\.png does not exist \(10 of 15.*skip'),
    ('thur', THUR, 'Plane/Src/2.jpg', r'Plane/Src/2\.jpg does not exist'),
    ('thur', THUR_GT, '', r'no file \*\.png in .*\*/GT')])
def test_missing_files_are_named(name, kwargs, gone, message, layout):
    root = layout(name)
    if gone:
        (root / gone).rename(root / 'elsewhere')
    with pytest.raises(FileNotFoundError, match=message):
        build(root, **kwargs)


@pytest.mark.parametrize('content, message', [(b'', 'is empty|is not an image'), ('half', 'is damaged')])
@pytest.mark.parametrize('name', ['images/0001.jpg', 'ground_truth_mask/0001.png'])
def test_broken_files_are_named(name, content, message, layout):
    path = layout('ecssd') / name
    if content == 'half':
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80), dtype=np.uint8)).save(path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    dataset = build(path.parents[1])
    with pytest.raises(ValueError, match=f'{name}.* ({message})'):
        dataset[0]
    assert dataset[1]['data_samples'].img_id == '0002'  # the others can be read


def test_an_error_of_a_step_names_the_image(layout):
    root = layout('ecssd')
    Image.fromarray(np.full((10, 12), 255, np.uint8)).save(root / 'ground_truth_mask/0001.png')
    with pytest.raises(ValueError, match=r'0001\.png has \(10, 12\) pixels, its image \(12, 10\)') as caught:
        build(root)[0]
    notes = getattr(caught.value, '__notes__', ())  # from Python 3.11 on
    assert "image '0001'" in ' '.join([str(caught.value), *notes])


@pytest.mark.parametrize('kwargs, message', [
    (dict(without_mask='drop'), 'without_mask must be'),
    (dict(data_prefix=dict(image='a')), r"data_prefix has no \['image'\]"),
    (dict(data_prefix=dict(img='*/Src')), 'one whole folder name'),
    (dict(data_prefix=dict(img='a*/Src', mask='a*/Src')), 'one whole folder name'),
    (dict(MSRA_B, mask_suffix='.jpg'), "both end on '.jpg'")])
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SaliencyDataset(pipeline=[], **kwargs)


@pytest.mark.parametrize('content, message', [('\n \n', 'is empty'), ('0001\n0002\n0001.jpg\n', "names '0001' twice"),
                                              ('0001\n', None)])
def test_lists(content, message, layout):
    root = layout('ecssd')
    (root / 'list.txt').write_text(content)
    if message is None:
        assert len(build(root, ann_file='list.txt')) == 1
        (root / 'ground_truth_mask/0001.png').unlink()
        with pytest.raises(ValueError, match='none of the 1 images .*check data_prefix and mask_suffix'):
            build(root, ann_file='list.txt', without_mask='skip')
        return
    with pytest.raises(ValueError, match=message):
        build(root, ann_file='list.txt')
