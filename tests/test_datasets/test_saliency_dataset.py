"""Miniature copies of ECSSD, MSRA-B and THUR15K in their published layouts."""
import numpy as np
import pytest
from mmdet.registry import DATASETS
from PIL import Image

from mmiam.datasets.mask_files import load_saliency_mask
from mmiam.datasets.saliency import SaliencyDataset, read_list
from mmiam.utils.rle import decode_masks

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='LoadSaliencyMask'), dict(type='PackWeakInputs')]
MSRA_B = dict(data_prefix=dict(img='Imgs', mask='Imgs'))
THUR = dict(data_prefix=dict(img='*/Src', mask='*/Src'), without_mask='skip')


def mask_of(seed):
    mask = np.zeros((12, 10), bool)
    mask[2 + seed:8, 1:4 + seed] = True
    return mask


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 10, 3), dtype=np.uint8)).save(path)


def write_mask(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask_of(seed).astype(np.uint8) * 255).save(path)


@pytest.fixture
def ecssd(tmp_path):
    """images/0001.jpg ... and ground_truth_mask/0001.png ..."""
    for seed, name in enumerate(('0002', '0001', '0003')):
        write_image(tmp_path / f'images/{name}.jpg')
        write_mask(tmp_path / f'ground_truth_mask/{name}.png', seed)
    return tmp_path


@pytest.fixture
def msra_b(tmp_path):
    """Imgs/0_0_272.jpg and Imgs/0_0_272.png side by side."""
    for seed, name in enumerate(('0_0_272', '0_5_5108', '9_99_99964')):
        write_image(tmp_path / f'Imgs/{name}.jpg')
        write_mask(tmp_path / f'Imgs/{name}.png', seed)
    return tmp_path


@pytest.fixture
def thur(tmp_path):
    """Five classes with images of the same names, most of them without a mask; Readme beside."""
    (tmp_path / 'Readme.txt').write_text('THUR15K')
    for seed, name in enumerate(('Butterfly', 'CoffeeMug', 'DogJump', 'Giraffe', 'Plane')):
        for number in (1, 2, 12):
            write_image(tmp_path / f'{name}/Src/{number}.jpg')
        write_mask(tmp_path / f'{name}/Src/2.png', seed % 3)
    return tmp_path


def build(root, **kwargs):
    return DATASETS.build(dict(type='SaliencyDataset', data_root=str(root), pipeline=PIPELINE, **kwargs))


def ids(dataset):
    return [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]


def truth(sample):
    return decode_masks([sample['data_samples'].saliency_mask], (12, 10))[0]


def test_ecssd(ecssd):
    dataset = build(ecssd)
    assert ids(dataset) == ['0001', '0002', '0003'] and dataset.test_mode
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 16, 16) and sample['data_samples'].ori_shape == (12, 10)
    assert np.array_equal(truth(sample), mask_of(1)) and np.array_equal(truth(dataset[1]), mask_of(0))


def test_msra_b_and_its_lists(msra_b):
    prefix = dict(img='Imgs', mask='Imgs')
    assert ids(build(msra_b, data_prefix=prefix)) == ['0_0_272', '0_5_5108', '9_99_99964']
    (msra_b / 'test.txt').write_text('9_99_99964.jpg 9_99_99964.png\n\nImgs/0_5_5108.jpg\n')
    dataset = build(msra_b, data_prefix=prefix, ann_file='test.txt')
    assert ids(dataset) == ['9_99_99964', '0_5_5108'] and np.array_equal(truth(dataset[0]), mask_of(2))


@pytest.mark.parametrize('folder', ['Src', 'GT'])
def test_thur(thur, folder, logged):
    if folder == 'GT':
        for path in thur.glob('*/Src/*.png'):
            (path.parents[1] / 'GT').mkdir()
            path.rename(path.parents[1] / 'GT' / path.name)
    dataset = build(thur, data_prefix=dict(img='*/Src', mask=f'*/{folder}'), without_mask='skip')
    assert ids(dataset) == ['Butterfly/2', 'CoffeeMug/2', 'DogJump/2', 'Giraffe/2', 'Plane/2']
    assert np.array_equal(truth(dataset[1]), mask_of(1)) and np.array_equal(truth(dataset[2]), mask_of(2))
    assert '10 of 15 images left out' in logged[0]
    (thur / 'list.txt').write_text('Plane/2\nButterfly/Src/2.jpg\n')
    assert ids(build(thur, data_prefix=dict(img='*/Src', mask=f'*/{folder}'), ann_file='list.txt')) == [
        'Plane/2', 'Butterfly/2']


@pytest.mark.parametrize('layout, kwargs, gone, message', [
    ('ecssd', {}, 'images', r'folder .*images does not exist.*data_prefix\[.img.\].*docs/saliency'),
    ('ecssd', {}, 'ground_truth_mask', r'folder .*ground_truth_mask does not exist.*data_prefix\[.mask.\]'),
    ('ecssd', {}, 'ground_truth_mask/0002.png', r'ground_truth_mask/0002\.png does not exist \(1 of 3'),
    ('ecssd', {}, 'images/0003.jpg', r'images/0003\.jpg does not exist \(1 of 3'),
    ('ecssd', dict(ann_file='test.txt'), '', r'image list .*test\.txt does not exist'),
    ('msra_b', MSRA_B, 'Imgs/0_0_272.png', r'Imgs/0_0_272\.png does not'),
    ('msra_b', MSRA_B, 'Imgs', 'folder .*Imgs does not exist'),
    ('msra_b', dict(MSRA_B, img_suffix='.bmp'), '', r'no file \*\.bmp in .*Imgs'),
    ('thur', dict(THUR, without_mask='error'), '', r'Butterfly/Src/1\.png does not exist \(10 of 15.*skip'),
    ('thur', THUR, 'Plane/Src/2.jpg', r'Plane/Src/2\.jpg does not exist'),
    ('thur', dict(THUR, data_prefix=dict(img='*/Src', mask='*/GT')), '', r'no file \*\.png in .*\*/GT')])
def test_missing_files_are_named(layout, kwargs, gone, message, request):
    root = request.getfixturevalue(layout)
    if (root / gone).is_dir() and gone:
        (root / gone).rename(root / 'elsewhere')
    elif gone:
        (root / gone).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        build(root, **kwargs)


@pytest.mark.parametrize('content, message', [
    (b'', 'is empty|is not an image'), (b'\xff\xd8 no picture', 'is not an image'), ('half', 'is damaged')],
    ids=['empty', 'no picture', 'half'])
@pytest.mark.parametrize('name', ['images/0001.jpg', 'ground_truth_mask/0001.png'])
def test_broken_files_are_named(ecssd, name, content, message):
    path = ecssd / name
    if content == 'half':
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80), dtype=np.uint8)).save(path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    dataset = build(ecssd)
    with pytest.raises(ValueError, match=f'{name}.* ({message})'):
        dataset[0]
    assert dataset[1]['data_samples'].img_id == ids(dataset)[1]  # the others can be read


def test_mask_of_another_size(ecssd):
    Image.fromarray(np.full((10, 12), 255, np.uint8)).save(ecssd / 'ground_truth_mask/0001.png')
    with pytest.raises(ValueError, match=r'0001\.png has \(10, 12\) pixels, its image \(12, 10\)') as caught:
        build(ecssd)[0]
    notes = getattr(caught.value, '__notes__', ())  # from Python 3.11 on
    assert "image '0001'" in ' '.join([str(caught.value), *notes])


@pytest.mark.parametrize('mode', ['L', '1', 'P', 'RGB', 'RGBA', 'LA'])
def test_kinds_of_masks(mode, tmp_path):
    """Foreground is above 128, whatever the kind of picture."""
    gray = np.array([[0, 128, 129, 255]], np.uint8)
    picture = Image.fromarray(gray)
    if mode == '1':
        picture, gray = Image.fromarray(gray > 128), np.array([[0, 0, 255, 255]])
    elif mode == 'P':
        picture = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
        picture.putpalette([value for level in gray[0] for value in [int(level)] * 3])
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / 'mask.png')
    assert load_saliency_mask(str(tmp_path / 'mask.png')).tolist() == [[False, False, True, True]]


def test_masks_that_are_not_black_and_white(tmp_path):
    for name, values, message in (('ones.png', np.eye(4, dtype=np.uint8), r'ones\.png has no value above 128'),
                                  ('deep.png', np.full((4, 4), 40000, np.uint16), r'deep\.png has more than 8 bits')):
        Image.fromarray(values).save(tmp_path / name)
        with pytest.raises(ValueError, match=message):
            load_saliency_mask(str(tmp_path / name))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / 'black.png')
    assert not load_saliency_mask(str(tmp_path / 'black.png')).any()
    with pytest.raises(FileNotFoundError, match=r'none\.png does not exist'):
        load_saliency_mask(str(tmp_path / 'none.png'))


@pytest.mark.parametrize('kwargs, message', [
    (dict(without_mask='drop'), 'without_mask must be'),
    (dict(data_prefix=dict(image='a')), r"data_prefix has no \['image'\]"),
    (dict(data_prefix=dict(img='*/Src')), 'one whole folder name'),
    (dict(data_prefix=dict(img='a*/Src', mask='a*/Src')), 'one whole folder name'),
    (dict(data_prefix=dict(img='Imgs', mask='Imgs'), mask_suffix='.jpg'), "both end on '.jpg'")])
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SaliencyDataset(pipeline=[], **kwargs)


def test_lists(tmp_path):
    for content, message in (('\n \n', 'is empty'), ('a\nb\na.jpg\n', "names 'a' twice")):
        (tmp_path / 'list.txt').write_text(content)
        with pytest.raises(ValueError, match=message):
            read_list(str(tmp_path / 'list.txt'), '.jpg', with_folder=False)
