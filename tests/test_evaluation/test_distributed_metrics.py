"""Two processes give the figures of one."""
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = '''
import json, sys
import mmiam, torch
import numpy as np
import torch.distributed as dist
from mmiam.utils.rle import encode_masks
from mmiam.evaluation.metrics import ImageLabelMetric, VOCInstanceMetric

rank, world, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if world > 1:
    dist.init_process_group('gloo', rank=rank, world_size=world)
rng = np.random.default_rng(0)
samples = []
for index in range(5):
    truth, found = rng.random((2, 6, 7)) < .5, rng.random((3, 6, 7)) < .5
    samples.append(dict(
        img_id=str(index), ori_shape=(6, 7), image_labels=[0, 1], void_mask=None,
        pred_class_scores=torch.from_numpy(rng.random(2)),
        instances=[dict(bbox=[0, 0, 1, 1], bbox_label=k, mask=rle) for k, rle in enumerate(encode_masks(truth))],
        pred_instances=dict(masks=torch.from_numpy(found), labels=torch.tensor([0, 1, 1]),
                            scores=torch.from_numpy(rng.random(3)), bboxes=torch.zeros(3, 4))))
samples[4]['image_labels'] = [0]
figures = {}
for metric in (VOCInstanceMetric(iou_thrs=(.2, .3, .4)), ImageLabelMetric(min_positives=1)):
    metric.dataset_meta = dict(classes=('cat', 'dog'))
    share = [samples[i % 5] for i in range(rank, 6 if world > 1 else 5, world)]  # padded to equal lengths
    metric.process({}, share)
    figures.update(metric.evaluate(5))
with open(f'{out}.{rank}', 'w') as file:
    json.dump(figures, file)
if world > 1:
    dist.destroy_process_group()
'''


@pytest.mark.skipif(sys.platform == 'win32', reason='gloo over localhost')
def test_two_processes(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    processes = [
        subprocess.Popen([sys.executable, '-c', PROGRAM, str(rank), '2', str(tmp_path / 'two')],
                         env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for rank in range(2)]
    try:
        monkeypatch.setattr(sys, 'argv', ['-c', '0', '1', str(tmp_path / 'one')])
        exec(PROGRAM, {})
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    alone, first, second = (json.loads((tmp_path / name).read_text()) for name in ('one.0', 'two.0', 'two.1'))
    assert alone == first == second
    assert 0 < alone['mAP_30'] < 100 and 0 < alone['cls_mAP'] <= 100
