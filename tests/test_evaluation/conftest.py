import pytest
from mmdet.registry import METRICS


@pytest.fixture
def evaluate(request):
    """``evaluate(samples, **options)`` -> figures of the metric that the test's module calls ``METRIC``."""

    def run(samples, **options):
        metric = METRICS.build(dict(type=request.module.METRIC, **options))
        metric.dataset_meta = dict(classes=('cat', 'dog', 'person'))
        for one in samples:
            metric.process({}, [one])
        return metric.evaluate(len(samples))

    return run
