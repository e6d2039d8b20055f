"""Plain arrays, folders of mask images and the common entrance: mmiam/proposals/io."""
import numpy as np
import pytest
from PIL import Image

from mmiam.proposals.io import find_proposal_file, load_proposals

MASKS = np.random.default_rng(0).random((12, 7, 9)) < .4


def test_plain_npz(tmp_path):
    path = tmp_path / 'a.npz'
    np.savez(path, masks=MASKS.astype(np.uint8) * 255, scores=np.arange(12))
    proposals = load_proposals(path, size=(7, 9))
    np.testing.assert_array_equal(proposals.masks(), MASKS[::-1])
    assert proposals.scores.tolist() == list(range(11, -1, -1))


def test_folder_of_images_in_natural_order(tmp_path):
    for i, mask in enumerate(MASKS):
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / f'mask_{i}.png')
    (tmp_path / 'metadata.csv').write_text('not an image')
    proposals = load_proposals(tmp_path)
    np.testing.assert_array_equal(proposals.masks(), MASKS)  # 10 after 9, not after 1


@pytest.mark.parametrize('mode', ['1', 'P', 'RGB', 'RGBA', 'LA'])
def test_kinds_of_mask_image(tmp_path, mode):
    image = Image.fromarray(MASKS[0].astype(np.uint8) * 255)
    if mode == 'P':  # indices, not colors, say what is inside
        image = Image.fromarray(MASKS[0].astype(np.uint8), 'P')
        image.putpalette([9, 9, 9, 0, 0, 0])
    else:
        image = image.convert(mode)  # alpha 255 everywhere
    image.save(tmp_path / 'm.png')
    np.testing.assert_array_equal(load_proposals(tmp_path).masks()[0], MASKS[0])


def test_bad_folders(tmp_path):
    with pytest.raises(ValueError, match='no mask image'):
        load_proposals(tmp_path)
    Image.fromarray(MASKS[0].astype(np.uint8)).save(tmp_path / '1.png')
    Image.fromarray(MASKS[0].T.astype(np.uint8)).save(tmp_path / '2.png')
    with pytest.raises(ValueError, match='2.png: .*transposed'):
        load_proposals(tmp_path)
    whole = (tmp_path / '1.png').read_bytes()
    for content in (b'', whole[:len(whole) // 2]):
        (tmp_path / '2.png').write_bytes(content)
        with pytest.raises(ValueError, match='2.png is (damaged|empty)'):
            load_proposals(tmp_path)


@pytest.mark.parametrize('arrays, message', [
    (dict(regions=MASKS), "no key 'masks'"),
    (dict(masks=MASKS[0]), r'must be \(n, H, W\)'),
    (dict(masks=MASKS, scores=np.ones(3)), "12 masks but 'scores'"),
    (dict(masks=np.array([None])), 'holds objects'),
])
def test_bad_npz(tmp_path, arrays, message):
    path = tmp_path / 'a.npz'
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f'a.npz: .*{message}'):
        load_proposals(path)


@pytest.mark.parametrize('name', ['a.npz', 'a.mat', 'a.json'])
def test_missing_and_empty(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(FileNotFoundError, match=name):
        load_proposals(path)
    path.write_bytes(b'')
    with pytest.raises(ValueError, match=f'{name}: the file is empty'):
        load_proposals(path)
    path.write_bytes(b'nonsense')
    with pytest.raises(ValueError, match=f'{name}(: | is )truncated, or not'):
        load_proposals(path)


def test_find_and_name_the_format(tmp_path):
    np.savez(tmp_path / 'a.npz', masks=MASKS)
    (tmp_path / 'b').mkdir()
    assert find_proposal_file(tmp_path, 'a').name == 'a.npz' and find_proposal_file(tmp_path, 'b').name == 'b'
    with pytest.raises(FileNotFoundError, match="'c'"):
        find_proposal_file(tmp_path, 'c')
    (tmp_path / 'a.pkl').write_bytes(b'x')
    with pytest.raises(ValueError, match='unknown kind'):
        load_proposals(tmp_path / 'a.pkl')
    with pytest.raises(ValueError, match='format must be'):
        load_proposals(tmp_path / 'a.npz', format='matlab')
    np.savez(tmp_path / 'odd.name', masks=MASKS)
    assert len(load_proposals(tmp_path / 'odd.name.npz', format='npz')) == 12
