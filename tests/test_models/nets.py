"""Inputs for tiny networks and post-processors, and what comes out."""
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmiam.proposals import SegmentProposals


def sample(height=64, width=64, ori_shape=None, proposals=None, **meta):
    out = DetDataSample(metainfo=dict(
        img_id='a', img_path='a.jpg', img_shape=(height, width), batch_input_shape=(height, width),
        ori_shape=ori_shape or (height, width), **meta))
    if proposals is not None:
        out.segment_proposals = proposals
    return out


def image(height=64, width=64, seed=0):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def quarters(height=64, width=64):
    """Four proposals: the quarters of the image."""
    rows, columns = np.mgrid[:height, :width]
    return SegmentProposals([(rows >= height // 2) * 2 + (columns >= width // 2)], [np.eye(4, dtype=bool)])


def run_predict(model, inputs, *samples):
    with torch.no_grad():
        return model.predict(inputs, list(samples))


def logit(probability):
    return float(np.log(probability / (1 - probability)))


def make_cues(labels, size=(4, 6), **fields):
    """Cues with class score 0 and peak score 0 (probability 0.5), where ``fields`` says nothing else."""
    n = len(labels)
    given = dict(class_scores=torch.zeros(n), peak_scores=torch.zeros(n), maps=torch.zeros(n, *size),
                 prms=torch.zeros(n, *size), cams=torch.zeros(n, *size), iams=torch.zeros(n, *size))
    return InstanceData(labels=torch.tensor(labels, dtype=torch.long), **{**given, **fields})


def assert_empty(found, size):
    assert len(found) == 0
    assert found.masks.shape == (0, *size) and found.masks.dtype == torch.bool
    assert found.scores.shape == (0, ) and found.scores.dtype == torch.float32
    assert found.bboxes.shape == (0, 4) and found.bboxes.dtype == torch.float32
    assert found.labels.shape == (0, ) and found.labels.dtype == torch.long
