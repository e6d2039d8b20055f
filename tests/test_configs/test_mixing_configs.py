"""Configs that mix this package with mmdet: other backbones, and refined masks of another method."""
import re
import warnings
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hub import get_config

from mmiam.compat import is_light

FOLDER = Path(__file__).parents[2] / 'configs/mixing'
needs_operators = pytest.mark.skipif(
    is_light(), reason='mmcv-lite has no RoIAlign and no NMS; install the full mmcv')


@pytest.mark.parametrize('stem, channels', [('iam_r18_voc', 512), ('iam_r101_voc', 2048), ('iam_swin-t_voc', 768)])
def test_other_backbones_predict(stem, channels):
    """One image of 64 x 64 pixels through all steps, random weights, peaks of the classes of the image."""
    cfg = Config.fromfile(FOLDER / f'{stem}.py')
    cfg.model.backbone.init_cfg = None
    cfg.model.peak_head.update(sub_pixel=2, class_thr=-1e3, peak_thr=-1e3, keep_strongest=True)
    cfg.model.test_cfg = dict(use_image_labels=True, return_maps=True)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    torch.nn.init.constant_(model.filler.decoder.layers[-1].bias, 2.)  # so that not all logits are negative
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(48, 60), image_labels=[3, 7]))
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter('always')
        image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)
        result, = model.test_step(dict(inputs=[image], data_samples=[sample]))
        feats = model.backbone(torch.zeros(1, 3, 64, 64))
    assert feats[-1].shape[1] == channels and [64 // feat.shape[2] for feat in feats] == [4, 8, 16, 32]
    found = result.pred_instances
    assert len(found) and set(found.labels.tolist()) <= {3, 7} and found.masks.shape == (len(found), 48, 60)
    assert found.prms.isfinite().all() and found.iams.isfinite().all() and (found.prms.flatten(1).amax(1) > 0).all()
    about_layers = [one for one in caught if 'peak' in str(one.message).lower()]
    assert len(about_layers) == (1 if 'swin' in stem else 0), [str(one.message) for one in caught]


def test_mask_rcnn_keeps_the_names_of_its_parameters():
    """A published checkpoint of mmdet's config fits the refined detector."""
    plain = get_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    cfg = Config.fromfile(FOLDER / 'mask-rcnn_r50_convcrf.py')
    with torch.device('meta'):
        shapes, wanted = ({name: value.shape for name, value in MODELS.build(model).state_dict().items()}
                          for model in (cfg.model, plain.model))
    assert shapes == wanted and cfg.model.backbone == plain.model.backbone


@pytest.mark.parametrize('name, test_cfg', [
    ('mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', dict(max_per_image=3)),
    ('solo/solo_r50_fpn_1x_coco.py', dict(score_thr=0., mask_thr=0., filter_thr=0., max_per_img=3)),
    pytest.param('condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py', dict(score_thr=0., max_per_img=3),
                 marks=needs_operators)])
def test_other_segmenters_are_refined(name, test_cfg):
    """Each gives its masks in a form that is refined; nothing but the masks changes."""
    cfg = get_config(f'mmdet::{name}')
    cfg.model.backbone.init_cfg = None
    cfg.model.test_cfg.update(test_cfg)
    base = cfg.model.type
    cfg.model.update(type='RefinedDetector', base=base, min_score=0.,
                     refiner=dict(type='ConvCRFPostProc', crf=dict(kernel_size=3, num_iters=1)))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)
    results = []
    for refine in (lambda masks, *_: masks, model.refine):
        model.refine = refine
        sample = DetDataSample(metainfo=dict(
            img_shape=(64, 64), ori_shape=(48, 60), scale_factor=(64 / 60, 64 / 48), batch_input_shape=(64, 64)))
        with torch.no_grad():
            results.append(model.test_step(dict(inputs=[image], data_samples=[sample]))[0].pred_instances)
    plain, refined = results
    assert type(model).__name__ == f'Refined{base}' and len(refined) == len(plain) > 0
    assert refined.masks.dtype == torch.bool and refined.masks.shape == plain.masks.shape == (len(plain), 48, 60)
    for key in ('scores', 'labels', 'bboxes'):
        torch.testing.assert_close(plain[key], refined[key], rtol=0, atol=0)


@needs_operators
def test_mask_rcnn_predicts_refined_masks():
    cfg = Config.fromfile(FOLDER / 'mask-rcnn_r50_convcrf.py')
    cfg.model.backbone.init_cfg = None
    cfg.model.test_cfg.rcnn.update(score_thr=0., max_per_img=3)
    cfg.model.refiner.crf = dict(kernel_size=3, num_iters=1)
    cfg.model.min_score = 0.
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    refined = []
    original = model.refiner.foreground
    model.refiner.foreground = lambda logits, rgb: refined.append((logits, rgb)) or original(logits, rgb)
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(48, 60), scale_factor=(64 / 60, 64 / 48)))
    with torch.no_grad():
        result, = model.test_step(dict(inputs=[torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)],
                                       data_samples=[sample]))
    found = result.pred_instances
    assert len(found) and found.masks.dtype == torch.bool and found.masks.shape == (len(found), 48, 60)
    (logits, rgb), = refined
    assert logits.shape == found.masks.shape and rgb.shape == (3, 48, 60)
    assert logits.unique().numel() > 2  # probabilities, not binary masks


def test_the_configs_in_the_documentation_are_read(tmp_path):
    """Those that start from mmdet's; the first is iam_r18_voc.py without its variable, the second iam_swin-t_voc.py."""
    blocks = re.findall(r'```python\n(.*?)```', (FOLDER.parents[1] / 'docs/mixing.md').read_text(), re.S)
    backbone, = [block for block in blocks if 'get_config' in block]
    (tmp_path / 'config.py').write_text(backbone.replace('../', f'{FOLDER.parent}/'))
    shown, ours = (Config.fromfile(path).model for path in (tmp_path / 'config.py', FOLDER / 'iam_swin-t_voc.py'))
    shown.backbone.init_cfg = ours.backbone.init_cfg
    assert shown == ours and shown.backbone.type == 'SwinTransformer'
    from_mmdet = [block for block in blocks if "_base_ = 'mmdet::" in block]
    assert len(from_mmdet) == 2
    for block in from_mmdet:
        (tmp_path / 'config.py').write_text(block)
        cfg = Config.fromfile(tmp_path / 'config.py')
        cfg.model.backbone.init_cfg = None
        with torch.device('meta'):
            assert MODELS.build(cfg.model).roi_head.mask_head.num_classes in (2, 80)
