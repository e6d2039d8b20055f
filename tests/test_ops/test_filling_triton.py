"""The steps of a GPU in Triton's interpreter, which runs on any machine where Triton is installed."""
import importlib.util
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from mmiam.ops import extent_filling
from mmiam.ops.extent_filling import filling


@pytest.fixture
def kernel(monkeypatch):
    """A copy of ``triton_kernel`` for the interpreter, with blocks that end within a row."""
    pytest.importorskip('triton', '3.0', reason='no Triton 3.0 or later, whose interpreter needs no GPU')
    monkeypatch.setenv('TRITON_INTERPRET', '1')
    path = Path(filling.__file__).with_name('triton_kernel.py')
    spec = importlib.util.spec_from_file_location('interpreted_kernel', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, '_BLOCK', 32)
    return module


@pytest.mark.parametrize('images, index, size, steps', [
    (1, None, (7, 5), 5), (2, None, (4, 6), 3), (1, [0, 0], (5, 3), 1),
    (3, [0, 2, 2], (6, 9), 7), (3, [2, 0, 2], (6, 9), 7)])
@pytest.mark.parametrize('history', [0, 10**9], ids=['steps run again', 'all steps kept'])
def test_equals_the_reference(kernel, monkeypatch, images, index, size, steps, history):
    """Value and both gradients, also where an image has no instance or weights reach out of the image."""
    monkeypatch.setattr(kernel, '_HISTORY_VALUES', history)
    index = None if index is None else torch.tensor(index)
    torch.manual_seed(0)
    features, weights = torch.rand(2 if index is None else len(index), 2, *size), torch.rand(images, 2, 9, *size) / 5
    seed, results = torch.randn_like(features), []
    for fill in (extent_filling, partial(filling._fill_on_gpu, kernel.FillingOnGPU)):
        inputs = features.clone().requires_grad_(), weights.clone().requires_grad_()
        filled = fill(*inputs, steps, index)
        results.append([filled.detach(), *torch.autograd.grad(filled, inputs, seed)])
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected)


def test_gradient_of_the_features_alone(kernel):
    features, weights = torch.rand(2, 1, 3, 4, requires_grad=True), torch.rand(1, 1, 9, 3, 4) / 5
    found, expected = (torch.autograd.grad(fill(features, weights, 4, None).square().sum(), features)[0]
                       for fill in (partial(filling._fill_on_gpu, kernel.FillingOnGPU), extent_filling))
    torch.testing.assert_close(found, expected)


def test_without_triton_the_reference_fills_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmiam.ops.extent_filling.triton_kernel', None)
    filling._gpu_filling.cache_clear()
    with pytest.warns(UserWarning, match='Triton does not work'):
        assert filling._gpu_filling(torch.device('cpu')) is None
    filling._gpu_filling.cache_clear()
