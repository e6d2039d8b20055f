import numpy as np
from mmdet.registry import TRANSFORMS
from PIL import Image

from mmiam.utils.rle import decode_masks, encode_masks


def build(kind):
    return TRANSFORMS.build(dict(type=kind))


def test_load_saliency_mask(tmp_path):
    mask = np.eye(5, 4, dtype=np.uint8) * 255
    Image.fromarray(mask).save(tmp_path / 'a.png')
    found = build('LoadSaliencyMask')(dict(saliency_mask_path=str(tmp_path / 'a.png'), ori_shape=(5, 4, 3)))
    assert np.array_equal(decode_masks([found['saliency_mask']], (5, 4))[0], mask > 0)


def test_union_of_instances():
    masks = np.zeros((2, 3, 4), bool)
    masks[0, 0], masks[1, :2, 1] = True, True
    instances = [dict(mask=rle) for rle in encode_masks(masks)]
    for chosen in ([0, 1], [1], []):
        found = build('InstancesToSaliencyMask')(dict(instances=[instances[i] for i in chosen], ori_shape=(3, 4)))
        assert np.array_equal(decode_masks([found['saliency_mask']], (3, 4))[0], masks[chosen].any(0))


def test_single_images_pass():
    for kind in ('LoadSaliencyMask', 'InstancesToSaliencyMask'):
        assert build(kind)(dict(ori_shape=(3, 4))) == dict(ori_shape=(3, 4))
        assert repr(build(kind)) == f'{kind}()'
