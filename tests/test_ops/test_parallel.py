import threading

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


def test_all_parts_run_elsewhere_on_one_thread_each(threads):
    threads(2)
    seen = {}

    def look(part):
        seen[part] = (threading.current_thread() is threading.main_thread(), torch.get_num_threads(),
                      torch.is_grad_enabled())

    run_parts(look, range(5), CPU)
    assert seen == dict.fromkeys(range(5), (False, 1, False))
    assert torch.get_num_threads() == 2
    run_parts(look, range(7), CPU)  # again, with the pool that is there
    assert len(seen) == 7 and torch.get_num_threads() == 2
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [2]  # other new threads are not touched


def test_one_part_runs_on_one_thread_and_one_thread_stays_here(threads):
    seen = []
    for number, parts in ((2, [0]), (1, [0, 1])):
        threads(number)
        run_parts(lambda part: seen.append((threading.current_thread() is threading.main_thread(),
                                            torch.get_num_threads())), parts, CPU)
    assert seen == [(False, 1), (True, 1), (True, 1)]


def test_an_error_reaches_the_caller(threads):
    threads(2)

    def fail(part):
        if part == 1:
            raise ValueError('part 1')

    with pytest.raises(ValueError, match='part 1'):
        run_parts(fail, range(3), CPU)


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
