import mmcv
import pytest
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample
from mmengine.dataset import Compose


def test_no_op_without_mask_paths():
    results = dict(img_path='a.jpg', ori_shape=(4, 4))
    assert TRANSFORMS.build(dict(type='LoadVOCInstances'))(dict(results)) == results


def test_default_label_is_the_index_less_one(mini_voc):
    root = mini_voc()
    results = dict(semantic_mask_path=str(root / 'SegmentationClass/v0.png'),
                   instance_mask_path=str(root / 'SegmentationObject/v0.png'))
    results = TRANSFORMS.build(dict(type='LoadVOCInstances'))(results)
    assert [i['bbox_label'] for i in results['instances']] == [11]  # dog
    sample = DetDataSample(metainfo=dict(instances=results['instances']))
    assert sample.to_dict()['instances'] == results['instances']


@pytest.mark.parametrize('kind', ['path', 'array'])
def test_test_pipeline_of_an_inferencer(mini_voc, kind):
    """DetInferencer replaces the loader and hands in an image alone."""
    path = str(mini_voc() / 'JPEGImages/v0.jpg')
    pipeline = Compose([dict(type='mmdet.InferencerLoader'), dict(type='Resize', scale=(16, 16), keep_ratio=False),
                        dict(type='LoadVOCInstances'), dict(type='PackWeakInputs')])
    packed = pipeline(path if kind == 'path' else mmcv.imread(path))
    assert packed['inputs'].shape == (3, 16, 16)
    assert packed['data_samples'].ori_shape == (24, 32)
    assert 'instances' not in packed['data_samples'] and 'image_labels' not in packed['data_samples']
