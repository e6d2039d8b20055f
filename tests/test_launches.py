"""What predicting and training ask of a GPU, counted on any machine: kernel launches, and waits for the device.

A launch takes the host about 5 us, whatever the GPU, and a wait keeps it from preparing the next: with few of both the
GPU is never idle.
"""
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from launches import GPUTensor, PretendedGPU
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from support import CONFIGS

from mmiam.models.cues import CueCache
from mmiam.ops import extent_filling
from mmiam.ops.extent_filling import filling
from mmiam.proposals import SegmentProposals

SIZE = 96  # of the image; launches are those of 448 x 448, with the filling steps of that


def resnet(**changes):
    """ResNet-50 with random weights, the highest eight peaks as cues, 112 filling steps, masks that are not empty."""
    cfg = Config.fromfile(CONFIGS / 'iam_r50_voc.py').model
    cfg.backbone.init_cfg = None
    cfg.peak_head.update(class_thr=-float('inf'), peak_thr=-float('inf'), max_peaks=8)
    cfg.filler.num_steps = 112
    cfg.post_processor.region = 'cue'
    cfg.update(changes)
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
    """Stands for the kernels that Triton compiles for a GPU: one launch a step, forth, back, and again."""

    class Filling(torch.autograd.Function):

        @staticmethod
        def forward(ctx, features, weights, starts, num_steps):
            gpu.launches['filling'] += num_steps
            index = torch.arange(len(weights)).repeat_interleave(starts.held.diff())
            with torch.enable_grad():
                ctx.inputs = [one.held.detach().requires_grad_() for one in (features, weights)]
                ctx.filled = extent_filling(*ctx.inputs, num_steps, index)
            ctx.num_steps = num_steps
            return GPUTensor(ctx.filled.detach())

        @staticmethod
        def backward(ctx, grad):
            gpu.launches['filling'] += 2 * ctx.num_steps - 1  # all but the first are run again, or were kept by a copy
            return (*map(GPUTensor, torch.autograd.grad(ctx.filled, ctx.inputs, grad.held)), None, None)

    return Filling


@pytest.fixture(autouse=True)
def usual_algorithms():
    """Not those of deterministic mode, which a training in an earlier test may have left on."""
    kept = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(kept)


@pytest.mark.parametrize('cue, launches, waits', [('PeakGaussianCue', 978, 5), ('PeakResponseCue', 1500, 7)])
def test_a_prediction(monkeypatch, cue, launches, waits):
    """The limits are what is reached, to be lowered with it."""
    model = resnet(cue=dict(type=cue))
    images = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    expected, gpu = predict(model, images), PretendedGPU()
    monkeypatch.setattr(filling, '_gpu_filling', lambda device: triton(gpu))
    with gpu:
        found = predict(gpu.upload(model), gpu.upload(images))
    assert 0 < gpu.launches.total() <= launches and gpu.launches['filling'] == 112
    assert gpu.waits.total() <= waits
    assert len(found) == len(expected) > 0 and isinstance(found.masks, GPUTensor)
    assert found.masks.held.ne(expected.masks).float().mean() < 1e-3
    torch.testing.assert_close(found.bboxes.held, expected.bboxes, atol=1., rtol=0)


def test_a_training_iteration_of_the_filling_stage(monkeypatch, tmp_path):
    """Forward and backward of the paper's batch: 16 images with three instances each, their cues from the cache."""
    gpu, images = PretendedGPU(), torch.randn(16, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(filling, '_gpu_filling', lambda device: triton(gpu))
    model = resnet()
    model.set_stage('fill')
    model.train()
    rows, cols = np.mgrid[:SIZE, :SIZE] * 4 // SIZE
    samples = [DetDataSample(metainfo=dict(
        img_path=f'{i}.jpg', img_shape=(SIZE, SIZE), batch_input_shape=(SIZE, SIZE), image_labels=[3, 7, 11],
        segment_proposals=SegmentProposals([rows * 4 + cols], [np.eye(16, dtype=bool)]))) for i in range(len(images))]
    found = InstanceData(labels=torch.tensor([3, 7, 11]), peaks=torch.zeros(3, 2).long(), peak_scores=torch.ones(3),
                         class_scores=torch.ones(3), prms=torch.ones(3, SIZE, SIZE), candidates=[np.arange(5)] * 3)
    gradients = []
    for place in (nullcontext(), gpu):
        model.cue_cache = CueCache(str(tmp_path), [])
        for sample in samples:
            model.cue_cache.put(sample, found.clone())
        torch.manual_seed(1)
        with place:
            there = gpu.upload if place is gpu else torch.nn.Identity()
            loss = there(model).loss(there(images), samples)
            loss['loss_fill'].backward()
        assert loss['peaks_per_image'] == 3 and model.cue_cache.hits == len(samples)
        gradients.append(torch.cat([getattr(parameter.grad, 'held', parameter.grad).flatten()
                                    for parameter in model.filler.parameters()]))
    torch.testing.assert_close(*gradients)
    assert gpu.launches['filling'] == 3 * 112 - 1 and gpu.launches.total() <= 751 and not gpu.waits.total()
