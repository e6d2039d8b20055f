"""Unseen categories: what is held out of training is what is evaluated, and the evaluation runs as a user runs it."""
import sys
from pathlib import Path

import mmcv
from mmdet.registry import DATASETS
from mmengine.config import Config
from support import ROOT

from mmiam.datasets.voc_palette import VOC_CLASSES
from mmiam.models.cues.class_groups import map_to_targets
from mmiam.proposals.generators import SelectiveMerging

sys.path.insert(0, str(Path(__file__).parent))
from test_saliency_configs import MOBILE, TINY  # noqa: E402

SEEN, UNSEEN = (Config.fromfile(ROOT / f'configs/iam-plus_mbv2_voc-{name}.py') for name in ('seen', 'unseen'))


def images(config, root, **kwargs):
    """Image id -> names of the classes of all images of a data set."""
    data = DATASETS.build(dict(config, data_root=str(root), pipeline=[dict(type='LoadImageFromFile')], **kwargs))
    entries = [data.get_data_info(i) for i in range(len(data))]
    return {entry['img_id']: {data.metainfo['classes'][label] for label in entry['image_labels']} for entry in entries}


def test_what_is_held_out_is_what_is_evaluated(mini_voc):
    """The miniature has cats, dogs and persons; those with a cat take no part in training or validation."""
    root = mini_voc()
    assert SEEN.unseen == UNSEEN.unseen == UNSEEN.test_dataloader.dataset.metainfo.classes
    assert images(SEEN.train_dataloader.dataset, root) == {'t1': {'dog', 'person'}}
    for loader in (SEEN.val_dataloader, SEEN.test_dataloader):
        held_out = images(loader.dataset, root, filter_cfg=dict(keep_classes=SEEN.unseen))
        assert held_out and not set(held_out) & set(images(loader.dataset, root))
    assert images(UNSEEN.test_dataloader.dataset, root) == {'v1': {'cat'}}  # its person is not looked at


def test_cues_are_of_the_classes_evaluated():
    cue = UNSEEN.model.cue
    targets = map_to_targets(cue.groups, cue.classifier.head.num_classes)
    assert sorted(targets[targets >= 0].tolist()) == [0] * 5 + [1]  # five kinds of cats, one of horses
    assert set(UNSEEN.unseen) < set(VOC_CLASSES) and UNSEEN.model.cue.classifier.head.ignore == (0, )


def test_evaluation(mini_voc, evaluate, tmp_path):
    """CAM, PRM and IAM of the two classes alone, from one run; the image without them is left out."""
    root = mini_voc()
    picture = mmcv.imread(str(root / 'JPEGImages/v1.jpg'), channel_order='rgb')
    SelectiveMerging()(picture).save(tmp_path / 'proposals/v1.npz')
    options = {**TINY, **MOBILE, 'test_dataloader.dataset.data_root': str(root),
               'model.cue.classifier.checkpoint': None, 'model.cue.classifier.backbone.widen_factor': 0.1}
    pipeline = Config(UNSEEN.to_dict()).test_dataloader.dataset.pipeline
    pipeline[1].proposal_root = str(tmp_path / 'proposals')
    pipeline[2].scale = (64, 64)
    options.pop('test_dataloader.dataset.pipeline.1.scale')
    options['test_dataloader.dataset.pipeline'] = pipeline
    figures, log = evaluate('iam-plus_mbv2_voc-unseen', options)
    assert {f'{row}/{key}' for row in ('CAM', 'PRM', 'IAM') for key in ('mAP_25', 'mAP_50', 'mAP_75', 'ABO')
            } <= set(figures)
    assert '1 of 2 images left out: has none of the classes to keep' in log and 'IAM: 1 images' in log
    assert '| cat ' in log and '| dog ' not in log and '| person ' not in log
