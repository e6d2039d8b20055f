"""What a prediction asks of a GPU, counted on any machine: kernel launches, and waits for the device.

A launch takes the host about 5 us, whatever the GPU, and a wait keeps it from preparing the next: with few of both the
GPU is never idle.
"""
import pytest
import torch
from launches import GPUTensor, PretendedGPU
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from support import CONFIGS

from mmiam.ops import extent_filling
from mmiam.ops.extent_filling import filling

SIZE = 96  # of the image; launches are those of 448 x 448, with the filling steps of that


def resnet(cue):
    """ResNet-50 with random weights, the highest eight peaks as cues, 112 filling steps, masks that are not empty."""
    cfg = Config.fromfile(CONFIGS / 'iam_r50_voc.py').model
    cfg.backbone.init_cfg = None
    cfg.cue = dict(type=cue)
    cfg.peak_head.update(class_thr=-float('inf'), peak_thr=-float('inf'), max_peaks=8)
    cfg.filler.num_steps = 112
    cfg.post_processor.region = 'cue'
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    torch.nn.init.constant_(model.filler.decoder.layers[-1].bias, .5)
    return model.eval()


def predict(model, images):
    sample = DetDataSample(metainfo=dict(img_shape=(SIZE, SIZE), batch_input_shape=(SIZE, SIZE), ori_shape=(75, 100)))
    with torch.no_grad():
        return model.predict(images, [sample])[0].pred_instances


def triton(gpu):
    """Stands for the kernel that Triton compiles for a GPU: one launch a step."""

    class Filling:

        @staticmethod
        def apply(features, weights, starts, num_steps):
            gpu.launches['filling'] += num_steps
            index = torch.arange(len(weights)).repeat_interleave(starts.held.diff())
            return GPUTensor(extent_filling(features.held, weights.held, num_steps, index))

    return Filling


@pytest.fixture(autouse=True)
def usual_algorithms():
    """Not those of deterministic mode, which a training in an earlier test may have left on."""
    kept = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(kept)


@pytest.mark.parametrize('cue, launches, waits', [('PeakGaussianCue', 1010, 7), ('PeakResponseCue', 1920, 12)])
def test_a_prediction(monkeypatch, cue, launches, waits):
    """The limits are what is reached, to be lowered with it."""
    model, images = resnet(cue), torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    expected, gpu = predict(model, images), PretendedGPU()
    monkeypatch.setattr(filling, '_gpu_filling', lambda device: triton(gpu))
    with gpu:
        found = predict(gpu.upload(model), gpu.upload(images))
    assert 0 < gpu.launches.total() <= launches and gpu.launches['filling'] == 112
    assert gpu.waits.total() <= waits
    assert len(found) == len(expected) > 0 and isinstance(found.masks, GPUTensor)
    assert found.masks.held.ne(expected.masks).float().mean() < 1e-3
    torch.testing.assert_close(found.bboxes.held, expected.bboxes, atol=1., rtol=0)
