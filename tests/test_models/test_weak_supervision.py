"""Boxes and masks of training images reach nothing that trains."""
import re

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

pytestmark = pytest.mark.slow

#: a step: stage, losses by name
Steps = list[tuple[str, dict[str, float]]]


class StepRecorder(Hook):
    """Keeps stage and every output of each training step."""

    def __init__(self):
        self.steps: Steps = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.steps.append((runner.model.stage, {name: value.item() for name, value in outputs.items()}))


def train(cfg) -> tuple[Steps, dict[str, torch.Tensor]]:
    """Both stages; what each step gave, and the trained weights."""
    cfg.experiment_name = f'weak_supervision_{cfg.work_dir}'
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    recorder = StepRecorder()
    runner = Runner.from_cfg(cfg)
    runner.register_hook(recorder)
    runner.train()
    return recorder.steps, runner.model.state_dict()


def relabel(root):
    """Another class for every object of the training images."""
    for path in (root / 'Annotations').glob('t*.xml'):
        path.write_text(re.sub('<name>(cat|dog)</name>', '<name>person</name>', path.read_text()))
    return root


@pytest.fixture
def reference(mini_voc, tiny_config):
    return train(tiny_config(mini_voc(), 'reference'))


def test_other_boxes_and_masks_leave_every_step_bit_identical(reference, mini_voc, tiny_config):
    steps, weights = reference
    root, other = mini_voc(), mini_voc(perturb=True)
    for folder in ('Annotations', 'SegmentationObject', 'SegmentationClass'):  # they are other ones indeed
        for path in (root / folder).glob('t[012].*'):
            assert path.read_bytes() != (other / folder / path.name).read_bytes()
    assert [stage for stage, _ in steps] == ['classify'] * 3 + ['fill'] * 3  # t3 has no label
    assert all('loss_fill' in values and values['candidates_per_image'] > 0
               for stage, values in steps if stage == 'fill')
    other_steps, other_weights = train(tiny_config(other, 'perturbed'))
    assert other_steps == steps
    assert other_weights.keys() == weights.keys()
    assert all(torch.equal(other_weights[name], weights[name]) for name in weights)


def test_other_class_names_change_both_stages(reference, mini_voc, tiny_config):
    """The comparison above would see a difference."""
    steps, weights = reference
    other_steps, other_weights = train(tiny_config(relabel(mini_voc()), 'relabeled'))
    assert other_steps[0] != steps[0]
    assert other_steps[3] != steps[3]
    for part in ('peak_head', 'filler'):
        assert any(not torch.equal(other_weights[name], weights[name]) for name in weights if name.startswith(part))
