"""Small valid files of every kind that mmiam reads, and what reads them."""
from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import scipy.io
import torch
from mmdet.structures import DetDataSample
from PIL import Image

from mmiam.apis.part_files import PartFiles
from mmiam.apis.pseudo_labels import merge_parts
from mmiam.datasets import cub_files
from mmiam.datasets.image_labels import labels_from_imagesets, labels_from_xml, read_annotation, read_image_list
from mmiam.datasets.saliency import read_list
from mmiam.datasets.saliency_masks import load_saliency_mask
from mmiam.datasets.tag_files import read_coco, read_csv
from mmiam.datasets.voc_localization import object_box
from mmiam.datasets.voc_masks import load_voc_instances
from mmiam.engine.model_zoo import load_models
from mmiam.engine.safe_loading import read_checkpoint
from mmiam.evaluation.dump import load_dump
from mmiam.evaluation.functional.class_predictions import load_class_predictions
from mmiam.evaluation.functional.records import evaluate_records
from mmiam.models.baselines.detection_file_boxes import load_detections
from mmiam.models.cues.cue_cache import CueCache
from mmiam.proposals.io import load_proposals, proposals_from_masks
from mmiam.utils.checked_json import write_checked_json
from mmiam.utils.images import check_image_file, image_size
from mmiam.utils.rle import encode_masks

CLASSES = ('cat', 'dog')
SIZE = (6, 8)
MASKS = np.zeros((3, *SIZE), bool)
MASKS[0, 1:4, 2:6] = MASKS[1, :, 4:] = MASKS[2, 5, 7] = True


@dataclass
class Reader:
    """What reads a kind of file.

    Attributes:
        samples (dict[str, bytes]): valid files by name.
        read (Callable): reads a file, and uses what it gives as the package does.
        makes (tuple[str]): files that ``read`` itself puts beside the file.
        pickles (bool): whether the safe loader looks up the names of torch's own types.
    """
    samples: dict[str, bytes]
    read: Callable[[Path], object]
    makes: tuple[str, ...] = ()
    pickles: bool = False


def _proposals(path: Path) -> None:
    proposals = load_proposals(path)
    assert len(proposals.areas()) == len(proposals.boxes()) == len(proposals)


def _mask_folder(path: Path) -> None:
    """The file as the only one of a folder of masks."""
    _proposals(path.parent)


def _imagesets(path: Path) -> None:
    (path.parent / 'dog_x.txt').write_bytes(b'a -1\nb 0\n') if not (path.parent / 'dog_x.txt').exists() else None
    labels_from_imagesets(str(path.parent), 'x', CLASSES, ['a', 'b'])


def _put_sum_right(path: Path) -> None:
    """Give an object in json the check sum that it has, so that what lies behind the sum is reached."""
    try:
        content = json.loads(path.read_bytes())
        write_checked_json(path, dict(content))
    except (ValueError, TypeError, RecursionError):
        pass


def _parts(path: Path) -> None:
    _put_sum_right(path)
    images = SimpleNamespace(classes=CLASSES, category_ids=[1, 2], names=['a.jpg'], ids=[1])
    merge_parts(PartFiles(str(path.parent), {}, ['a']), images, str(path.parent / 'merged.out'))


def _dump(path: Path) -> None:
    _put_sum_right(path)
    dump = load_dump(str(path))
    for void in ('background', 'ignore'):
        evaluate_records(dump['images'], len(dump['classes']), void=void)


class _Cache(CueCache):
    """A cache whose file for any sample is a given one."""

    def __init__(self, path: Path):
        self.path, self.hits, self.misses = str(path), 0, 0

    def _path(self, sample) -> str:
        return self.path


def _cue_cache(path: Path) -> None:
    sample = DetDataSample(metainfo=dict(batch_input_shape=SIZE))
    cues = _Cache(path).get(sample, torch.device('cpu'))
    if cues is not None:
        assert len(cues.candidates) == len(cues) == len(cues.get('prms', cues.get('maps')))


def _cub(path: Path) -> None:
    dict(classes=cub_files.read_classes, images=cub_files.read_images, labels=cub_files.read_class_labels,
         split=cub_files.read_split, boxes=cub_files.read_boxes)[path.stem](str(path))


def _xml(path: Path) -> None:
    labels_from_xml(str(path), CLASSES)
    for element in read_annotation(str(path)).findall('object'):
        object_box(element, str(path))


def _npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _mat(**options) -> bytes:
    content, file = options.pop('content'), io.BytesIO()
    scipy.io.savemat(file, content, **options)
    return file.getvalue()


def _cell(entries) -> np.ndarray:
    cell = np.empty((len(entries), 1), object)
    for index, entry in enumerate(entries):
        cell[index, 0] = entry
    return cell


def _own_file() -> bytes:
    from tempfile import TemporaryDirectory
    with TemporaryDirectory() as folder:
        proposals_from_masks(MASKS, scores=np.array([.9, .5, .1])).save(Path(folder) / 'a.npz')
        return (Path(folder) / 'a.npz').read_bytes()


def _hdf5(content: dict) -> dict[str, bytes]:
    """A MATLAB 7.3 file, where h5py is there."""
    try:
        import h5py
    except ImportError:
        return {}
    file = io.BytesIO()
    with h5py.File(file, 'w') as root:
        root['superpixels'] = content['superpixels'].T
        cells = [root.create_dataset(f'#refs#/{i}', data=cell.T) for i, cell in enumerate(content['labels'].ravel())]
        root.create_dataset('labels', data=np.array([[cell.ref for cell in cells]], h5py.ref_dtype))
    return {'new.mat': file.getvalue()}


def _picture(kind: str, mode: str, values: np.ndarray) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(values.astype(np.uint8))
    (image if mode in ('L', 'P') else image.convert(mode)).save(file, kind)
    return file.getvalue()


def _text(content) -> bytes:
    return json.dumps(content).encode()


def _prm_entry(mask: np.ndarray) -> dict:
    """Row-major runs as uint32 pairs of start (from 1) and length."""
    edges = np.flatnonzero(np.diff(mask.ravel().astype(int), prepend=0, append=0)).reshape(-1, 2)
    data = np.stack([edges[:, 0] + 1, edges[:, 1] - edges[:, 0]], 1).astype('<u4').tobytes()
    return dict(data=base64.b64encode(data).decode(), shape=list(SIZE))


def _proposal_samples() -> dict[str, bytes]:
    rles = encode_masks(MASKS)
    runs = [np.diff(np.flatnonzero(np.diff(mask.T.ravel().astype(int), prepend=-1, append=2))) for mask in MASKS]
    counts = [dict(size=list(SIZE), counts=[0] * bool(mask[0, 0]) + run.tolist()) for mask, run in zip(MASKS, runs)]
    labels = _cell([np.array([ids], np.uint32) for ids in ([1], [2, 5], [3, 1, 2])])
    candidates = dict(superpixels=np.array([[1, 1, 2, 2, 5], [1, 3, 3, 2, 5]], np.uint16), labels=labels,
                      scores=np.array([[.9], [.5], [.1]]))
    annotations = [dict(id=i, segmentation=rle, area=3, predicted_iou=.5, stability_score=.9)
                   for i, rle in enumerate(rles)]
    return {
        'own.npz': _own_file(), 'plain.npz': _npz(masks=MASKS, scores=np.arange(3.)),
        'cob.mat': _mat(content=candidates), 'packed.mat': _mat(content=dict(c=candidates), do_compression=True),
        'cim.mat': _mat(content=dict(maskmat=_cell(MASKS.astype(np.uint8)))),
        'old.mat': _mat(content=dict(maskmat=MASKS[0].astype(np.uint8)), format='4'), **_hdf5(candidates),
        'prm.json': _text([_prm_entry(mask) for mask in MASKS]), 'rle.json': _text(rles), 'counts.json': _text(counts),
        'sam.json': _text(dict(image=dict(image_id=1, height=SIZE[0], width=SIZE[1]), annotations=annotations))}


def _dump_sample() -> bytes:
    rles = [rle['counts'] for rle in encode_masks(MASKS)]
    part = dict(labels=[0, 1, 1], masks=rles, bboxes=[[0, 0, 2, 2]] * 3)
    record = dict(img_id='a', height=SIZE[0], width=SIZE[1], image_labels=[0, 1],
                  void_mask=dict(size=list(SIZE), counts=rles[2]), ground_truth=dict(part, ignore_flags=[0, 0, 1]),
                  predictions=dict(part, scores=[.9, .5, .1]))
    return _text(dict(format='mmiam-instances-1', classes=CLASSES, pred_field='pred_instances',
                      images=[record, dict(record, img_id='b', predictions=None, void_mask=None)]))


def _cache_sample() -> bytes:
    prms = MASKS[:2].astype(np.float16)
    return _npz(labels=np.array([0, 1]), peaks=np.array([[1, 2], [3, 4]]), peak_scores=np.ones(2, np.float32),
                class_scores=np.ones(2, np.float32), prms=prms, counts=np.array([1, 2]), candidates=np.array([0, 1, 2]))


def _checkpoint() -> bytes:
    file = io.BytesIO()
    torch.save(dict(state_dict=dict(weight=torch.arange(6.).reshape(2, 3), bias=torch.ones(2)),
                    meta=dict(epoch=1, classes=CLASSES)), file)
    return file.getvalue()


_XML = (b'<annotation><size><width>8</width><height>6</height><depth>3</depth></size><object><name>cat</name><bndbox>'
        b'<xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>')
_INDEX = (np.arange(48).reshape(SIZE) % 3)
_PHOTO = np.arange(144).reshape(*SIZE, 3)
_CUB = {'classes.txt': b'1 001.Cat\n2 002.Dog\n', 'images.txt': b'1 001.Cat/a.jpg\n2 002.Dog/b.jpg\n',
        'labels.txt': b'1 1\n2 2\n', 'split.txt': b'1 0\n2 1\n', 'boxes.txt': b'1 60.0 27.0 325.0 304.0\n2 1 2 3 4\n'}
_COCO = _text(dict(
    images=[dict(id=1, file_name='a/b.jpg', height=6, width=8, category_ids=[1]), dict(id='x', file_name='c.jpg')],
    categories=[dict(id=1, name='cat'), dict(id=7, name='dog')],
    annotations=[dict(id=1, image_id='x', category_id=7, bbox=[0, 0, 2, 2], segmentation=encode_masks(MASKS)[0])]))
_PART = _text(dict(image=dict(id=1, file_name='a.jpg', height=6, width=8, category_ids=[1]), annotations=[
    dict(image_id=1, category_id=1, segmentation=encode_masks(MASKS)[0], bbox=[2, 1, 4, 3], area=12., iscrowd=0,
         score=.5)]))

READERS: dict[str, Reader] = {
    'proposals': Reader(_proposal_samples(), _proposals),
    'mask_folder': Reader({'1.png': _picture('PNG', 'L', 255 * MASKS[0])}, _mask_folder),
    'cue_cache': Reader({'cues.npz': _cache_sample()}, _cue_cache),
    'checkpoints': Reader({'a.pth': _checkpoint()}, lambda path: read_checkpoint(str(path)), pickles=True),
    'image_list': Reader({'list.txt': b'2007_000032\n/JPEGImages/a.jpg /SegmentationClassAug/a.png\n'},
                         lambda path: read_image_list(str(path))),
    'saliency_list': Reader({'list.txt': b'Butterfly/Src/12.jpg\nb.jpg\n'},
                            lambda path: read_list(str(path), '.jpg', True)),
    'imagesets': Reader({'cat_x.txt': b'a  1\nb -1\n'}, _imagesets, ('dog_x.txt', )),
    'voc_xml': Reader({'a.xml': _XML}, _xml),
    'voc_masks': Reader({'mask.png': _picture('PNG', 'L', _INDEX)},
                        lambda path: load_voc_instances(str(path), str(path), {1: 0, 2: 1})),
    'saliency_masks': Reader({'mask.png': _picture('PNG', 'L', 255 * MASKS[0]),
                              'mask.jpg': _picture('JPEG', 'L', 255 * MASKS[0])},
                             lambda path: load_saliency_mask(str(path))),
    'images': Reader({'a.jpg': _picture('JPEG', 'RGB', _PHOTO), 'a.png': _picture('PNG', 'RGB', _PHOTO),
                      'a.bmp': _picture('BMP', 'RGB', _PHOTO), 'a.webp': _picture('WEBP', 'RGB', _PHOTO),
                      'a.tif': _picture('TIFF', 'RGB', _PHOTO)},
                     lambda path: (check_image_file(str(path)), image_size(str(path)))),
    'tags_csv': Reader({'tags.csv': b'file,tag\na.jpg,cat,dog\n"b c.jpg",dog\n', 'semi.csv': b'a.jpg;cat\nb.jpg;\n'},
                       lambda path: read_csv(str(path))),
    'tags_coco': Reader({'tags.json': _COCO}, lambda path: read_coco(str(path))),
    'cub': Reader(_CUB, _cub),
    'detections': Reader({'found.json': _text(dict(detections=[
        dict(image_id='a', score=.5, bbox=[0, 0, 2, 2], **{'class': 'cat'}),
        dict(image_id='b', score=1, bbox=[1, .5, 2, 2], **{'class': 'dog'})]))},
        lambda path: load_detections(str(path), CLASSES)),
    'class_predictions': Reader({'found.csv': b'image,class\na.jpg,cat\nb.jpg,1\n',
                                 'found.json': _text({'a.jpg': 'cat', 'b.jpg': 1, 'c': [.25, .75]}),
                                 'list.json': _text([{'image': 'a', 'class': 'dog'}])},
                                lambda path: load_class_predictions(str(path), CLASSES)),
    'part_files': Reader({f'{hashlib.sha256(b"a").hexdigest()[:24]}.json': _PART}, _parts, ('info.json', 'merged.out')),
    'dumps': Reader({'dump.json': _dump_sample()}, _dump),
    'model_index': Reader({'model-index.yml': b'Import:\n  - metafile.yml\n',
                           'metafile.yml': b'Models:\n  - Name: a\n    Config: a.py\n    Metadata: {SHA256: 0}'},
                          lambda path: _model_index(path), ('model-index.yml', 'metafile.yml')),
}


def _model_index(path: Path) -> None:
    """The file with the sound other one of the pair."""
    samples = READERS['model_index'].samples
    for name in samples:
        if name != path.name:
            (path.parent / name).write_bytes(samples[name])
    load_models(path.parent / 'model-index.yml')
