"""A GPU gives what the CPU gives. ``pytest -k cuda`` where there is one, skipped elsewhere."""
from contextlib import nullcontext

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from nets import image, quarters, run_predict, sample

from mmiam.apis import IAMInferencer, PromptSession, init_model
from mmiam.models.cues import CueCache
from mmiam.models.postprocessors.regions import keep_cue_region
from mmiam.ops import Trace, class_maps_over_image, conv_crf, extent_filling, mask_nms, normalize_filling_weights
from mmiam.ops.peak_stimulation import peak_stimulation

GPU = 'cuda'
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device and pytest -k cuda')


@pytest.fixture(autouse=True)
def exact():
    """Plain float32 while a test runs, and torch's settings as they were behind it."""
    kept = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = kept
    torch.use_deterministic_algorithms(False)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filling(device, images=3, index=(2, 0, 2), side=3):
    features = random(3, 2, 20, 17).to(device).requires_grad_()
    logits = random(images, 2 * side**2, 20, 17, seed=1).to(device).requires_grad_()
    filled = extent_filling(features, normalize_filling_weights(logits, side), 20, index and torch.tensor(index))
    return [filled.detach(), *torch.autograd.grad(filled.square().sum(), [features, logits])]


OPERATORS = dict(
    filling=filling,
    filling_one_image=lambda device: filling(device, 1, None),
    filling_wide_window=lambda device: filling(device, side=5),
    conv_crf=lambda device: conv_crf(random(3, 2, 40, 50).double().to(device),
                                     random(3, 40, 50).double().mul(60).to(device)),
    peaks=lambda device: peak_stimulation(random(2, 5, 40, 31).to(device)),
    tied_peaks=lambda device: peak_stimulation(random(2, 5, 40, 31).round().to(device)),
    nms=lambda device: mask_nms(random(6, 300, 300).to(device) > 0, random(6, seed=1).to(device), .3,
                                torch.zeros(6, device=device)),
    region=lambda device: keep_cue_region(random(6, 40, 50).to(device) > .3,
                                          random(6, 40, 50, seed=1).to(device).abs()),
    class_maps=lambda device: class_maps_over_image(random(6, 14, 14).to(device), (14, 14), (448, 448)))


@pytest.mark.parametrize('name', OPERATORS)
@pytest.mark.parametrize('half', [False, True], ids=['plain', 'autocast'])
@pytest.mark.parametrize('deterministic', [False, True], ids=['', 'deterministic'])
def test_operators(name, half, deterministic):
    expected = OPERATORS[name]('cpu')
    torch.use_deterministic_algorithms(deterministic)
    with torch.autocast(GPU, torch.float16) if half else nullcontext():
        found = OPERATORS[name](GPU)
    for one, other in zip(*([result] if torch.is_tensor(result) else result for result in (found, expected))):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('kind', ['ResNet', 'MobileNetV2'])
@pytest.mark.parametrize('mode, tolerance', [('float32', 1e-3), ('deterministic', 1e-3), ('tf32', .05)])
def test_peak_response_maps(kind, mode, tolerance):
    torch.manual_seed(0)
    backbone = MODELS.build(dict(type=kind, **(dict(depth=50) if kind == 'ResNet' else {})))
    backbone.eval()  # returns None
    head = torch.nn.Conv2d(2048 if kind == 'ResNet' else 1280, 3, 1)
    peaks, maps = torch.tensor([[i % 2, i % 3, i % 4, i % 5] for i in range(6)]), []
    for device, dtype in (('cpu', torch.float64), (GPU, torch.float32)):
        if device == GPU:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = mode == 'tf32'
            torch.use_deterministic_algorithms(mode == 'deterministic')
        backbone.to(device, dtype), head.to(device, dtype)
        recorded = Trace(lambda x: head(backbone(x)[-1]), random(2, 3, 160, 160).to(device, dtype))
        maps.append(recorded.backpropagate(recorded.output, peaks).double().cpu())
    assert (maps[0] - maps[1]).abs().max() <= tolerance * maps[0].max()


@pytest.mark.parametrize('cue', ['PeakResponseCue', 'PeakGaussianCue', 'ClassMapCue'])
@pytest.mark.parametrize('mode', ['plain', 'float16', 'bfloat16', 'deterministic', 'inference_mode'])
def test_prediction(build, cue, mode):
    model, images = build(cue=dict(type=cue)), torch.cat([image(), image(seed=1)])
    expected = run_predict(model, images, sample(), sample(ori_shape=(50, 70)))
    torch.use_deterministic_algorithms(mode == 'deterministic')
    half = torch.autocast(GPU, getattr(torch, mode)) if mode.endswith('float16') else nullcontext()
    with half, torch.inference_mode() if mode == 'inference_mode' else nullcontext():
        found = run_predict(model.to(GPU), images.to(GPU), sample(), sample(ori_shape=(50, 70)))
    for one, other in zip(found, expected):
        one, other = one.pred_instances, other.pred_instances
        assert one.masks.device.type == GPU and one.masks.shape[1:] == other.masks.shape[1:]
        if not mode.endswith('float16'):
            assert len(one) == len(other) and one.masks.cpu().ne(other.masks).float().mean() < .01
            torch.testing.assert_close(one.scores.cpu(), other.scores, atol=.01, rtol=0)


@pytest.mark.parametrize('stage', ['classify', 'fill'])
@pytest.mark.parametrize('mode', ['plain', 'float16', 'bfloat16', 'deterministic', 'selecting', 'prompts', 'cached'])
def test_training(build, stage, mode, tmp_path):
    gradients = []
    for device in ('cpu', GPU):
        model = build(train_cfg=dict(prompt_ratio=float(mode == 'prompts')))
        model.set_stage(stage)
        model.to(device).train()
        model.sampler.self_selecting = mode == 'selecting'
        if mode == 'cached':
            model.cue_cache = CueCache(str(tmp_path), [model.backbone])
        torch.use_deterministic_algorithms(mode == 'deterministic' and device == GPU)
        for _ in range(1 + (mode == 'cached')):
            torch.manual_seed(0)
            with torch.autocast(device, getattr(torch, mode)) if mode.endswith('float16') else nullcontext():
                losses = model.loss(image().to(device), [sample(image_labels=[0, 1, 2], proposals=quarters())])
        (losses['loss_cls' if stage == 'classify' else 'loss_fill'] * 1024).backward()
        gradients.append(torch.cat([p.grad.double().cpu().flatten() for p in model.parameters() if p.grad is not None]))
    assert gradients[0].shape == gradients[1].shape and gradients[1].isfinite().all()
    tolerance = .5 if mode.endswith('float16') else .02
    assert (gradients[0] - gradients[1]).norm() <= tolerance * gradients[0].norm()


@pytest.mark.parametrize('post', [
    dict(type='ConvCRFPostProc', region='cue'), dict(type='ConvCRFPostProc', crf=None), dict(type='ClassMapThreshold'),
    dict(type='ExtentBox'), dict(type='SaliencyMap')], ids=lambda post: '-'.join(map(str, post.values())))
def test_post_processors(post):
    maps = random(4, 64, 64).abs()**4
    cues = dict(labels=torch.tensor([3, 3, 7, 11]), class_scores=random(4), peak_scores=random(4, seed=1), cams=maps,
                prms=maps / maps.sum((1, 2), keepdim=True), maps=maps, iams=maps - 1, peaks=torch.zeros(4, 2).long())
    found = [MODELS.build(dict(post)).to(device)(InstanceData(**cues).to(device), (random(3, 60, 80) * 60).to(device),
                                                 sample(ori_shape=(60, 80))) for device in (GPU, 'cpu')]
    for key, value in found[1].items():
        torch.testing.assert_close(found[0].get(key).cpu().double(), value.double(), atol=1e-3, rtol=1e-3, msg=key)


def test_programs(tiny_files, mini_voc, tmp_path):
    """Prompts, the inferencer, and a checkpoint that was written on a GPU."""
    config, checkpoint = tiny_files
    path = str(mini_voc() / 'JPEGImages/v0.jpg')
    model = init_model(config, checkpoint, GPU)
    assert PromptSession(model, path)([dict(point=(9, 9)), dict(box=(2, 2, 20, 20))]).masks.device.type == GPU
    torch.save(dict(torch.load(checkpoint), state_dict=model.state_dict()), tmp_path / 'there.pth')
    init_model(config, str(tmp_path / 'there.pth'), 'cpu')
    assert IAMInferencer(config, str(tmp_path / 'there.pth'), GPU, show_progress=False)(path)['predictions']
