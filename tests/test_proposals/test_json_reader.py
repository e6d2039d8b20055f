"""PRM demo JSON, COCO RLE and Segment Anything: mmiam/proposals/io/json_files.py."""
import base64
import json
import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmiam.proposals.io import load_proposals

SIZE = (12, 17)


def blobs():
    masks = np.zeros((3, *SIZE), bool)
    masks[0, 2:9, 3:12] = masks[1, :, 10:] = masks[2, 11, 16] = True
    return masks


def prm_entry(mask, order='C', shape=None):
    """As in the PRM demo: uint32 pairs of start (from 1) and length over the row-major mask."""
    flat = np.concatenate([[0], mask.ravel(order=order).astype(int), [0]])
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    data = np.stack([starts + 1, ends - starts], 1).astype('<u4').tobytes()
    return dict(data=base64.b64encode(data).decode(), shape=list(shape or mask.shape))


def rle(mask):
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=[int(v) for v in encoded['size']], counts=encoded['counts'].decode())


def plain_counts(mask):
    flat = mask.ravel(order='F')
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    return dict(size=list(mask.shape), counts=np.diff(np.concatenate([[0], edges, [flat.size]])).tolist())


def sam_file(masks, size=SIZE):
    """The layout of an SA-1B file."""
    annotations = [dict(id=i, segmentation=rle(m), bbox=[0, 0, 1, 1], area=int(m.sum()), predicted_iou=.5 + .1 * i,
                        stability_score=.9, crop_box=[0, 0, size[1], size[0]], point_coords=[[1., 1.]])
                   for i, m in enumerate(masks)]
    image = dict(image_id=1, file_name='sa_1.jpg', height=size[0], width=size[1])
    return dict(image=image, annotations=annotations)


def write(tmp_path, content):
    path = tmp_path / 'a.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_prm_demo_by_hand(tmp_path):
    data = np.array([2, 2, 6, 1], '<u4').tobytes()  # pixels 2-3 and 6, counted from 1, of a 2x3 image
    path = write(tmp_path, [dict(data=base64.b64encode(data).decode(), shape=[2, 3])])
    assert load_proposals(path).masks().astype(int).tolist() == [[[0, 1, 1], [0, 0, 1]]]


@pytest.mark.parametrize('content', [
    [prm_entry(m) for m in blobs()],
    [rle(m) for m in blobs()],
    [plain_counts(m) for m in blobs()],
    [dict(segmentation=rle(m), image_id=7, category_id=1) for m in blobs()],
    dict(annotations=[dict(segmentation=plain_counts(m)) for m in blobs()]),
], ids=['prm', 'rle', 'counts', 'results', 'annotations'])
def test_layouts_without_scores_keep_their_order(tmp_path, content):
    proposals = load_proposals(write(tmp_path, content), size=SIZE)
    np.testing.assert_array_equal(proposals.masks(), blobs())
    assert proposals.scores is None


def test_scores_rank(tmp_path):
    content = sam_file(blobs())
    for layout in (content, content['annotations']):  # SA-1B, and what the generator returns
        proposals = load_proposals(write(tmp_path, layout), size=SIZE)
        np.testing.assert_array_equal(proposals.masks(), blobs()[::-1])
        np.testing.assert_allclose(proposals.scores, [.63, .54, .45], rtol=1e-6)
        assert proposals.origin == 'segment anything'
    entries = [dict(segmentation=rle(m), score=s) for m, s in zip(blobs(), (.1, .9, .5))]
    np.testing.assert_array_equal(load_proposals(write(tmp_path, entries)).masks(), blobs()[[1, 2, 0]])


def test_no_proposal(tmp_path):
    assert load_proposals(write(tmp_path, []), size=SIZE).size == SIZE
    assert load_proposals(write(tmp_path, sam_file([]))).size == SIZE


BLOB = prm_entry(blobs()[0])


def base64_of(*runs):
    return base64.b64encode(np.array(runs, '<u4').tobytes()).decode()


@pytest.mark.parametrize('content, message', [
    ('[{"data": "AAAA', 'truncated, or not json'), ('"text"', 'expected a list'), ([3], 'must be an object'),
    ([], 'no mask, and no size'), ({'masks': []}, "without 'annotations'"),
    ([dict(BLOB, data='AAA!')], 'proposal 0: bad base64'), ([dict(BLOB, data='AAAA')], 'no whole number of'),
    ([prm_entry(blobs()[1], shape=[5, 5])], 'runs leave the image'),
    ([dict(data=base64_of(0, 3), shape=[3, 3])], 'starts count from 1'), ([dict(data='')], "no key 'shape'"),
    ([dict(BLOB, shape=[10**5, 10**5])], 'the image has 100000 x 100000 pixels'),
    ([BLOB, prm_entry(blobs()[1][:5])], 'proposal 1 is of shape'),
    ([rle(blobs()[0]), rle(blobs()[1][:5])], 'proposal 1 is of size'),
    ([dict(size=[12, 17], counts=rle(blobs()[0])['counts'][:-2])], 'proposal 0: runs of .*truncated'),
    ([dict(size=[12, 17], counts=[3, 4])], 'proposal 0: runs of 7 pixels in all, the image has 204'),
    ([dict(size=[12, 17], counts='P')], 'within a number'),
    ([dict(size=[12, 17], counts='\u0001')], 'none of COCO RLE'),
    ([dict(segmentation=[[0, 0, 4, 0, 4, 4]])], 'polygons are not read'),
    ([dict(segmentation=rle(blobs()[0]), image_id=i) for i in (1, 2)], 'proposals of 2 images'),
    *(([dict(rle(blobs()[0]), score=score)], 'scores must be finite') for score in (np.nan, 1e308, np.inf)),
    ([prm_entry(m, order='F') for m in blobs()], 'the runs are column-major, but this format is row-major'),
    ([dict(size=list(SIZE), counts=plain_counts(b.ravel()[None])['counts']) for b in blobs()],
     'the runs are row-major, but this format is column-major')])
def test_broken_files_are_named_with_their_cause(tmp_path, content, message):
    with pytest.raises(ValueError, match=f'a.json.* .*{message}'):
        load_proposals(write(tmp_path, content))


@pytest.mark.parametrize('content, size, message', [
    ([rle(m.T) for m in blobs()], SIZE, 'proposals of .*transposed'),
    (sam_file([m.T for m in blobs()]), None, 'proposals of .*transposed'),
    ([dict(shape=[16000, 16000], data=base64_of([1, 16000**2]))], (40, 60),
     r'proposals of \(16000, 16000\) \(H, W\), the image is \(40, 60\)')])
def test_a_stated_size_is_compared_with_the_images_before_memory_is_taken(tmp_path, content, size, message):
    path = write(tmp_path, content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=f'a.json: {message}'):
        load_proposals(path, size)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_thin_and_noisy_masks_pass_the_order_check(tmp_path):
    rng = np.random.default_rng(0)
    masks = np.zeros((5, *SIZE), bool)
    masks[0, 5] = masks[1, :, 5] = True
    masks[2] = rng.random(SIZE) < .5
    masks[3] = rng.random(SIZE) < .05
    masks[4, 2:10, 4] = True
    for layout in (prm_entry, rle):
        for mask in masks:
            proposals = load_proposals(write(tmp_path, [layout(mask)]))
            np.testing.assert_array_equal(proposals.masks()[0], mask)


def test_runs_that_overlap(tmp_path):
    content = [dict(shape=[4, 5], data=base64_of([4, 5], [1, 4], [5, 2], [20, 1], [20, 0]))]
    expected = np.zeros(20, bool)
    expected[:8] = expected[19] = True
    np.testing.assert_array_equal(load_proposals(write(tmp_path, content)).masks()[0], expected.reshape(4, 5))
