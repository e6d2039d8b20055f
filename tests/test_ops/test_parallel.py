import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mmiam.ops import conv_crf, extent_filling, normalize_filling_weights
from mmiam.ops.parallel import run_parts

CPU = torch.device('cpu')


@pytest.fixture
def threads():
    """``threads(n)`` sets torch's number of threads; it is put back after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize('number, parts', [(2, 5), (2, 1), (1, 2)])
def test_parts_run_on_one_thread_each_and_others_keep_theirs(number, parts, threads):
    """Elsewhere, one part alone, too; where torch has one thread, here."""
    threads(number)
    for _ in range(2):  # again, with the pool that is there
        seen = {}

        def look(part, seen=seen):
            here = threading.current_thread() is threading.main_thread()
            seen[part] = here, torch.get_num_threads(), torch.is_grad_enabled()

        run_parts(look, range(parts), CPU)
        assert seen == dict.fromkeys(range(parts), (number == 1, 1, number == 1))
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == torch.get_num_threads() == number


def test_an_error_reaches_the_caller(threads):
    threads(2)
    with pytest.raises(ZeroDivisionError):
        run_parts(lambda part: 1 / part, range(3), CPU)


@pytest.mark.parametrize('mode', [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_results_do_not_depend_on_the_number_of_threads(mode, threads):
    torch.manual_seed(0)
    image, unaries = torch.rand(3, 13, 11) * 255, [torch.randn(5, labels, 13, 11) for labels in (2, 3)]
    features, logits = torch.randn(3, 5, 9, 7, requires_grad=True), torch.randn(1, 45, 9, 7, requires_grad=True)
    results = []
    for number in (1, 2, 3):
        threads(number)
        with mode():
            filled = extent_filling(features + 0, normalize_filling_weights(logits + 0), 6)
            results.append([filled, *[conv_crf(unary + 0, image, blur=2) for unary in unaries]])
        if filled.requires_grad:
            results[-1] += torch.autograd.grad(filled.square().sum(), (features, logits))
    for other in results[1:]:  # a block's last values may be rounded another way
        torch.testing.assert_close(other, results[0], rtol=1e-5, atol=1e-6)
