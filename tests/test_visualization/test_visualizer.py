"""Maps in the log backends of mmengine: files, a real TensorBoard event file, W&B by config."""
import sys
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import VISUALIZERS
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmiam.visualization.maps import draw_predicted, merge_maps

LOCAL = dict(type='LocalVisBackend')


def test_merge_maps_by_hand():
    maps = torch.tensor([[[0., 2.], [1., 0.]], [[-3., 0.], [4., 8.]]])
    assert merge_maps(maps, normalize=False).tolist() == [[0, 2], [4, 8]]
    assert merge_maps(maps, normalize=True).tolist() == [[0, 1], [.5, 1]]
    assert merge_maps(maps[:0], normalize=True).tolist() == [[0, 0], [0, 0]]


def test_instances_below_the_threshold_are_in_no_picture():
    image = np.full((4, 4, 3), 100, np.uint8)
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, 0], masks[1, 3] = True, True
    predicted = InstanceData(masks=masks, labels=torch.tensor([0, 0]), scores=torch.tensor([.9, .1]),
                             prms=masks.float(), iams=masks.float())
    both = draw_predicted(image, predicted, ('cat', ))
    one = draw_predicted(image, predicted, ('cat', ), min_score=.5)
    assert list(both) == ['image', 'PRM', 'IAM', 'masks']  # CAM was not kept
    assert (both['IAM'][3] != one['IAM'][3]).any() and (both['IAM'][0] == one['IAM'][0]).all()


@pytest.fixture
def validate(tiny_config, tmp_path):
    """``validate(*vis_backends)`` evaluates a random network with pictures of every image; -> the work dir."""

    def run(*backends):
        cfg = tiny_config()
        cfg.merge_from_dict(dict(
            model=dict(peak_head=dict(class_thr=-50.), test_cfg=dict(return_maps=True)),
            default_hooks=dict(visualization=dict(draw=True, interval=1, score_thr=0.)), custom_hooks=[],
            visualizer=dict(type='IAMVisualizer', name=str(tmp_path), vis_backends=list(backends), tile_size=96)))
        torch.manual_seed(0)
        runner = Runner.from_cfg(cfg)
        runner.val()
        for backend in runner.visualizer._vis_backends.values():
            backend.close()
        return tmp_path / 'work'

    return run


WIDTH = 5 * 96 + 6 * 4


def test_pictures_in_files_and_tensorboard(validate):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    folder = validate(LOCAL, dict(type='TensorboardVisBackend'))
    pictures = [cv2.imread(str(path)) for path in sorted(folder.rglob('vis_image/*.png'))]
    events = EventAccumulator(str(next(folder.rglob('events.out.tfevents.*')).parent), size_guidance=dict(images=0))
    assert 'mAP_50' in events.Reload().Tags()['scalars']
    logged = [cv2.imdecode(np.frombuffer(one.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
              for one in events.Images('val_img')]
    assert len(pictures) == len(logged) == 2
    for picture in (*pictures, *logged):
        assert picture.shape[1] == WIDTH and picture[:, 100:].std() > 5


def test_pictures_to_weights_and_biases_by_config(validate, monkeypatch):
    """Without an account: what mmengine hands to the package is caught."""
    package = mock.MagicMock()
    monkeypatch.setitem(sys.modules, 'wandb', package)
    package.Image = lambda image: image
    validate(LOCAL, dict(type='WandbVisBackend', init_kwargs=dict(project='iam')))
    assert package.init.call_args.kwargs['project'] == 'iam'
    pictures = [call.args[0]['val_img'] for call in package.log.call_args_list if 'val_img' in call.args[0]]
    assert len(pictures) == 2 and pictures[0].shape[1] == WIDTH


def test_samples_without_maps_are_drawn_as_in_mmdet(tmp_path):
    drawn = []
    for kind in ('IAMVisualizer', 'DetLocalVisualizer'):
        visualizer = VISUALIZERS.build(dict(type=kind, name=f'{tmp_path}{kind}', _scope_='mmdet'))
        visualizer.dataset_meta = dict(classes=('cat', ), palette=[(200, 10, 10)])
        visualizer.add_datasample('a', np.full((40, 40, 3), 90, np.uint8), None, draw_gt=False)
        drawn.append(visualizer.get_image())
    assert (drawn[0] == drawn[1]).all()
