"""Every saliency config by ``tools/test.py``, on miniature copies in the published layouts and a tiny model."""
import numpy as np
import pytest
from PIL import Image

FIGURES = ('F_mean', 'F_adaptive', 'F_max', 'MAE')
TINY = {
    'model.peak_head.num_classes': 3, 'model.peak_head.class_thr': -50., 'model.peak_head.peak_thr': -50.,
    'model.peak_head.sub_pixel': 1, 'model.filler.channels': 2, 'model.filler.hidden_channels': 4,
    'model.filler.num_steps': 2}
RESNET = {'model.backbone.depth': 18, 'model.backbone.base_channels': 8, 'model.backbone.init_cfg': None,
          'model.peak_head.in_channels': 64, 'model.filler.in_channels': (8, 16, 32),
          'test_dataloader.dataset.pipeline.1.scale': (64, 64),
          'model.cue.classifier': dict(backbone=dict(type='ResNet', depth=18, base_channels=4),
                                       head=dict(type='SoftmaxHead', num_classes=7, in_channels=32), checkpoint=None,
                                       type='FrozenClassifier')}
MOBILE = {'model.backbone.init_cfg': None, 'test_dataloader.dataset.pipeline.1.scale': (64, 64)}
LAYOUTS = {'ecssd': ('images/0001.jpg', 'ground_truth_mask/0001.png'),
           'msra-b': ('Imgs/0_0_272.jpg', 'Imgs/0_0_272.png'),
           'thur': ('Giraffe/Src/7.jpg', 'Giraffe/Src/7.png')}


@pytest.mark.parametrize('name', LAYOUTS)
def test_data_sets(name, evaluate, tmp_path):
    image, mask = (tmp_path / 'data' / path for path in LAYOUTS[name])
    rng = np.random.default_rng(0)
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(image)
    Image.fromarray(np.pad(np.full((10, 20), 255, np.uint8), 10)).save(mask)
    maps = tmp_path / 'maps'
    options = {**TINY, **RESNET, 'test_dataloader.dataset.data_root': str(tmp_path / 'data'),
               'test_evaluator.save_dir': str(maps)}
    figures, _ = evaluate(f'iam_r50_saliency_{name}', options)
    assert set(FIGURES) <= set(figures) and all(0 <= figures[key] <= 1 for key in FIGURES)
    written, = maps.rglob('*.png')
    with Image.open(written) as picture:
        values = np.array(picture)
    assert values.shape == (30, 40) and (values.min(), values.max()) == (0, 255)
    assert written.relative_to(maps).as_posix() == {'thur': 'Giraffe/7.png'}.get(name, mask.name)


def test_voc_with_the_rows_of_all_maps(mini_voc, evaluate):
    options = {**TINY, **MOBILE, 'test_dataloader.dataset.data_root': str(mini_voc()),
               'test_dataloader.dataset.metainfo': dict(classes=('cat', 'dog', 'person'))}
    figures, _ = evaluate('iam-plus_mbv2_voc-saliency', options)
    rows = ('CAM', 'PRM', 'IAM', 'IAM-sigmoid')
    assert {f'{row}/{key}' for row in rows for key in FIGURES} <= set(figures)
    assert len({figures[f'{row}/MAE'] for row in rows}) == 4  # four different maps
