"""Exported graphs hold to the model: the published one, on photographs of other sizes than that it was traced with."""
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector
from PIL import Image
from support import ROOT

import mmiam
from mmiam.apis import PromptSession
from mmiam.cli import main
from mmiam.integrations.export import GRAPHS, export_model
from mmiam.utils.rle import decode_masks

EXAMPLE = ROOT / 'demo/onnx_example.py'
CLICK = (180., 130.)


def torchscript(folder, graph):
    module = torch.jit.load(folder / f'{graph}.pt')
    return lambda values: module(*(torch.as_tensor(value) for value in values))


def onnx(folder, graph):
    session = pytest.importorskip('onnxruntime').InferenceSession(str(folder / f'{graph}.onnx'))
    names = [one.name for one in session.get_inputs()]
    return lambda values: session.run(list(GRAPHS[graph][1]), dict(zip(names, map(np.asarray, values))))


def openvino(folder, graph):
    import openvino
    model = openvino.compile_model(str(folder / f'{graph}.xml'), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    return lambda values: list(model([np.asarray(value) for value in values]).values())


#: format -> how its files are run, and what is needed for it
RUNTIMES = dict(torchscript=(torchscript, ), onnx=(onnx, 'onnx', 'onnxruntime'),
                openvino=(openvino, 'onnx', 'openvino'))


@pytest.fixture(scope='module')
def model():
    model = mmiam.load('voc20', 'cpu').model
    model.test_cfg['return_maps'] = True
    return model


@pytest.fixture(scope='module', params=list(RUNTIMES))
def exported(request, tmp_path_factory, model):
    """The folder of a format, and its runtime."""
    runtime, *packages = RUNTIMES[request.param]
    for package in packages:
        pytest.importorskip(package, reason=f'{package} is not installed')
    folder = tmp_path_factory.mktemp(request.param)
    files = export_model(model, str(folder), request.param)
    assert files and all(Path(path).is_file() for path in files)
    return folder, runtime


@pytest.mark.slow
@pytest.mark.parametrize('of, box', [('chelsea', None), ('astronaut', (0, 0, 300, 451)), ('black', None)])
def test_equals_the_model(exported, model, photo, of, box, tmp_path):
    folder, runtime = exported
    image = np.zeros((50, 70, 3), np.uint8) if of == 'black' else np.asarray(Image.open(photo('a.png', of, box)))
    found = dict(zip(GRAPHS['photo'][1], map(torch.as_tensor, runtime(folder, 'photo')([image]))))
    expected = inference_detector(model, np.ascontiguousarray(image[..., ::-1]))
    instances = expected.pred_instances
    torch.testing.assert_close(found['class_scores'], expected.pred_class_scores, atol=1e-4, rtol=0)
    assert found['labels'].tolist() == instances.labels.tolist() and (len(instances) > 0) == (of != 'black')
    cams = instances.cams.relu()
    instances.cams = cams / cams.amax((1, 2), keepdim=True).clamp(min=1)
    instances.photo_peaks = (instances.places.flip(1) + .5) * torch.tensor(image.shape[1::-1]) / torch.tensor(
        cams.shape[:0:-1])
    assert (found['masks'] != instances.masks).float().sum() <= 1e-4 * image[..., 0].size
    for ours, theirs in dict(scores='scores', boxes='bboxes', iams='iams', cams='cams', cues='maps',
                             peaks='photo_peaks', peak_scores='peak_scores').items():
        torch.testing.assert_close(found[ours], instances.get(theirs), atol=1e-4, rtol=0)
    if of == 'chelsea':  # the state serves any number of clicks and boxes
        prompts = np.array([[*CLICK, *CLICK], [60, 40, 400, 290]], np.float32)
        state = [found[name] for name in ('weights', 'context', 'guide')]
        answers = dict(zip(GRAPHS['click'][1], runtime(folder, 'click')([*state, np.array(image.shape[:2]), prompts])))
        session = PromptSession(model, np.ascontiguousarray(image[..., ::-1]))
        for place, prompt in enumerate((dict(point=CLICK), dict(box=(60, 40, 400, 290)))):
            mask = session([prompt]).masks[0].numpy()
            assert mask.any() and (np.asarray(answers['masks'][place]) != mask).mean() <= 1e-4


@pytest.mark.slow
def test_the_page(tmp_path, monkeypatch, photo, capsys):
    """Its commands, in order; the example knows no torch, and its masks are those of ``mmiam predict --fast``."""
    for package in ('onnx', 'onnxruntime'):
        pytest.importorskip(package, reason=f'{package} is not installed')
    monkeypatch.chdir(tmp_path)
    photo('photo.jpg')
    text = (ROOT / 'docs/export.md').read_text(encoding='utf-8')
    blocks = re.findall(r'^```console\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
    commands = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    assert [words[:2] for words in commands] == [['pip', 'install'], ['mmiam', 'export'], *[
        ['python', 'demo/onnx_example.py']] * 2]
    assert main(commands[1][1:]) == 0
    no_torch = 'import sys; sys.modules.update(torch=None, mmdet=None); import runpy; sys.argv = sys.argv[1:]; ' \
               'runpy.run_path(sys.argv[0], run_name="__main__")'
    for words in commands[2:]:
        subprocess.run([sys.executable, '-c', no_torch, str(EXAMPLE), *words[2:]], check=True)
    assert main(['predict', 'photo.jpg', '--fast', '--format', 'png', '--min-score', '0.6']) == 0
    instances = json.loads(Path('outputs/predictions.json').read_text())['annotations']
    expected, = decode_masks([instances[0]['segmentation']], (300, 451))
    assert ((np.asarray(Image.open('masks/0_cat.png')) > 0) != expected).mean() < 1e-4
    assert np.asarray(Image.open('masks/0_object.png')).any()


def test_what_cannot_be_exported_says_why(model, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'tflite' is none of onnx, openvino, torchscript"):
        export_model(model, str(tmp_path), 'tflite')
    monkeypatch.setattr(model, 'cue', torch.nn.Identity())
    with pytest.raises(ValueError, match='its cue is Identity; a graph has no backward pass'):
        export_model(model, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    assert main(['export', 'voc20', '--out', str(tmp_path)]) == 2
    assert 'error: this needs onnx: pip install onnx' in capsys.readouterr().err
