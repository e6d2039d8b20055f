"""Inputs for tiny networks, and a prediction."""
import numpy as np
import torch
from mmdet.structures import DetDataSample

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
