"""What tests import by name; fixtures are in conftest.py."""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st

import mmiam  # noqa: F401  (first: makes mmdet importable on mmcv-lite)

# isort: split
from mmdet.models.detectors.base import BaseDetector
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs'

#: class names of the miniature data set, and its images: id -> list of (class, box xyxy)
MINI_CLASSES = ('cat', 'dog', 'person')
MINI_IMAGES = {
    'train': {'t0': [('cat', (2, 3, 14, 15))], 't1': [('dog', (10, 4, 28, 20)), ('person', (1, 1, 8, 22))],
              't2': [('cat', (3, 2, 13, 12)), ('cat', (17, 8, 30, 22))], 't3': []},
    'val': {'v0': [('dog', (4, 4, 20, 20))], 'v1': [('cat', (1, 2, 12, 12)), ('person', (16, 3, 28, 22))]},
}


def build_mini_voc(root, perturb=False):
    """Write a miniature VOC tree: images of 24 x 32 pixels, 4 for training (t3 without objects), 2 for val.

    Objects are filled boxes with a void border of one pixel. The second object of an image is flagged
    difficult. ``perturb``: all boxes and masks of train are different ones; images, class names, lists and
    val stay bit-identical.
    """
    import numpy as np
    from PIL import Image

    from mmiam.datasets.voc_palette import VOC_CLASSES
    for folder in ('JPEGImages', 'Annotations', 'SegmentationClass', 'SegmentationObject', 'ImageSets/Main',
                   'ImageSets/Segmentation'):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, images in MINI_IMAGES.items():
        (root / f'ImageSets/Segmentation/{split}.txt').write_text('\n'.join(images) + '\n')
        for name in VOC_CLASSES:
            flags = {image_id: [index > 0 for index, (other, _) in enumerate(objects) if other == name]
                     for image_id, objects in images.items()}
            (root / f'ImageSets/Main/{name}_{split}.txt').write_text(''.join(
                f'{i} {"-1" if not f else " 0" if all(f) else " 1"}\n' for i, f in flags.items()))
        for image_id, objects in images.items():
            image = rng.integers(0, 90, (24, 32, 3), dtype=np.uint8)
            semantic, instance = np.zeros((2, 24, 32), np.uint8)
            xml = '<annotation><size><width>32</width><height>24</height><depth>3</depth></size>'
            for index, (name, box) in enumerate(objects, 1):
                x1, y1, x2, y2 = box
                image[y1:y2, x1:x2, MINI_CLASSES.index(name)] += 150
                if perturb and split == 'train':
                    x1, y1, x2, y2 = 31 - x1 - 6 * index, 2 + index, 31 - x1, 23 - 2 * index
                semantic[y1:y2, x1:x2] = instance[y1:y2, x1:x2] = 255
                semantic[y1 + 1:y2 - 1, x1 + 1:x2 - 1] = VOC_CLASSES.index(name) + 1
                instance[y1 + 1:y2 - 1, x1 + 1:x2 - 1] = index
                xml += (f'<object><name>{name}</name><difficult>{int(index > 1)}</difficult>'
                        f'<bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>'
                        f'<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>')
            Image.fromarray(image).save(root / f'JPEGImages/{image_id}.jpg', quality=95)
            (root / f'Annotations/{image_id}.xml').write_text(xml + '</annotation>')
            for folder, mask in (('SegmentationClass', semantic), ('SegmentationObject', instance)):
                picture = Image.fromarray(mask)
                picture.putpalette([v for i in range(256) for v in (i, 255 - i, i // 2)])
                picture.save(root / f'{folder}/{image_id}.png')
    return root


#: classes and images of the miniature CUB-200-2011: number, path, class number, training image, box (x, y, w, h)
CUB_CLASSES = ('001.Black_footed_Albatross', '002.Laysan_Albatross')
BIRDS = [(1, f'{CUB_CLASSES[0]}/Black_Footed_Albatross_0046_18.jpg', 1, False, (3.0, 2.0, 20.5, 10.0)),
         (2, f'{CUB_CLASSES[0]}/Black_Footed_Albatross_0009_34.jpg', 1, True, (1.0, 4.0, 30.0, 15.0)),
         (3, f'{CUB_CLASSES[1]}/Laysan_Albatross_0001_545.jpg', 2, False, (0.0, 0.0, 32.0, 24.0))]


def build_mini_cub(root):
    """A miniature ``CUB_200_2011`` in the published layout: three images of 24 x 32 pixels, two classes."""
    import numpy as np
    from PIL import Image
    (root / 'images').mkdir(parents=True)
    tables = {'images.txt': '', 'image_class_labels.txt': '', 'train_test_split.txt': '', 'bounding_boxes.txt': '',
              'classes.txt': ''.join(f'{i} {name}\n' for i, name in enumerate(CUB_CLASSES, 1))}
    rng = np.random.default_rng(0)
    for number, name, label, train, box in BIRDS:
        (root / 'images' / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(root / 'images' / name)
        tables['images.txt'] += f'{number} {name}\n'
        tables['image_class_labels.txt'] += f'{number} {label}\n'
        tables['train_test_split.txt'] += f'{number} {int(train)}\n'
        tables['bounding_boxes.txt'] += f'{number} {" ".join(map(str, box))}\n'
    for name, content in tables.items():
        (root / name).write_text(content)
    return root


def load_tool(path):
    """The module of a tool, e.g. ``load_tool('tools/train.py')``, which finds what lies beside it."""
    path = ROOT / path
    spec = importlib.util.spec_from_file_location('tool_' + path.stem, path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def run_process(*words, cwd=ROOT, path=(), timeout=300, **environment):
    """A finished process of Python (or of a .sh), which finds what is in the folders ``path``, then the project."""
    program = 'bash' if str(words[0]).endswith('.sh') else sys.executable
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, (*path, ROOT))), OMP_NUM_THREADS='1',
                       **environment)
    return subprocess.run([program, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True,
                          timeout=timeout)


#: a hook that kills its process at the iteration KILL_AT, of several processes that of rank KILL_RANK
KILLER = '''
import os, signal
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook

@HOOKS.register_module()
class Killer(Hook):
    priority = 'LOWEST'
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (runner.iter + 1, get_rank()) == (int(os.environ['KILL_AT']), int(os.environ.get('KILL_RANK', 0))):
            os.kill(os.getpid(), signal.SIGKILL)
'''


def add_killer(cfg, folder):
    """Give a config the hook :data:`KILLER`, whose module is written to a folder that must be on the path."""
    (folder / 'killer.py').write_text(KILLER)
    cfg.custom_imports = dict(imports=['mmiam', 'killer'], allow_failed_imports=False)
    cfg.custom_hooks.append(dict(type='Killer'))


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path, )


#: damage to a file: (place, bytes that are taken out, bytes in their place)
EDITS = st.lists(st.tuples(st.integers(0, 2**14), st.integers(0, 16), st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b'\xff' * 4, b'\0' * 8, b'\xff\xff\xff\x7f', b'-1', b'9' * 400, b'[' * 3000]))),
    min_size=1, max_size=4)


def edited(data, edits):
    """A file's bytes with the damage of :data:`EDITS`."""
    data = bytearray(data)
    for start, length, piece in edits:
        start %= len(data) + 1
        data[start:start + length] = piece
    return bytes(data)


class Seen(TorchDispatchMode):
    """Values that passed through exp, and the largest memory block that an operation returned, in values."""

    def __init__(self):
        super().__init__()
        self.exponentials = self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [value for value in tree_flatten(out)[0] if isinstance(value, torch.Tensor)]
        if func.__name__.startswith('exp_'):
            self.exponentials += sum(tensor.numel() for tensor in tensors)
        self.largest = max([self.largest, *(t.untyped_storage().nbytes() // t.element_size() for t in tensors)])
        return out


#: float16 where torch has it on a CPU
HALF = pytest.param(torch.float16, marks=pytest.mark.skipif(
    tuple(map(int, torch.__version__.split('.')[:2])) < (2, 3), reason='no float16 on a CPU before torch 2.3'))


class OnlyPredicts(BaseDetector):
    """A detector without network; ``predict`` is for who derives from it."""

    def loss(self, batch_inputs, batch_data_samples):
        return {}

    def extract_feat(self, batch_inputs):
        return (batch_inputs, )

    def _forward(self, batch_inputs, batch_data_samples=None):
        return batch_inputs
