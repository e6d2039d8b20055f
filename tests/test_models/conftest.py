"""What the tests of models share; ``nets`` has what they import by name."""
import pytest
import torch
from mmdet.registry import MODELS


@pytest.fixture
def build(tiny_config):
    """``build(**overrides)`` -> a tiny IAMNet with fixed weights; class scores are raised so that peaks are found."""

    def make(**overrides):
        cfg = tiny_config().model
        for name in overrides:  # replaced as a whole, not merged
            cfg.pop(name, None)
        cfg.update(overrides)
        torch.manual_seed(0)
        model = MODELS.build(cfg)
        if model.peak_head is not None:
            model.peak_head.classifier.bias.data.fill_(1.)
        return model.eval()

    return make
