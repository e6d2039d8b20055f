import json

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmiam.models.baselines import ClassMapBoxes, DetectionFileBoxes, GroundTruthBoxes, load_detections


def cues(*maps):
    """One cue for each (label, map)."""
    size = maps[0][1].shape if maps else (4, 6)
    return InstanceData(labels=torch.tensor([label for label, _ in maps], dtype=torch.long),
                        cams=torch.stack([one for _, one in maps]) if maps else torch.zeros(0, *size))


def response(*pixels, size=(4, 6), level=0.):
    values = torch.full(size, level)
    for y, x, value in pixels:
        values[y, x] = value
    return values


class TestClassMapBoxes:

    def test_a_box_for_each_region_with_its_score(self):
        # maximum 10: above 2 are a bar of 10 and 5, and a pixel of 4 that touches it by a corner only
        found = ClassMapBoxes()(cues((3, response((1, 1, 10.), (1, 2, 5.), (2, 3, 4.), (0, 5, 2.)))), (4, 6), None,
                                torch.tensor([0.5]))
        assert found.labels.tolist() == [3, 3]
        assert found.bboxes.tolist() == [[1, 1, 3, 2], [3, 2, 4, 3]]
        assert found.scores.tolist() == pytest.approx([0.5 * 0.75, 0.5 * 0.4])

    def test_mean_rule_takes_the_mean_itself(self):
        # 10 + 2 - 8 * 1.5 = 0: the zeros on both sides of the negative bar reach the mean
        values = response((1, 1, 10.), (3, 5, 2.))
        values[:, 3:5] = -1.5
        assert values.mean() == 0
        found = ClassMapBoxes(rule='mean', ratio=1.)(cues((0, values)), (4, 6), None, torch.ones(1))
        assert found.bboxes.tolist() == [[0, 0, 3, 4], [5, 0, 6, 4]]

    def test_largest_region_only(self):
        found = ClassMapBoxes(regions='largest')(
            cues((0, response((0, 0, 9.), (2, 2, 3.), (2, 3, 3.)))), (4, 6), None, torch.ones(1))
        assert found.bboxes.tolist() == [[2, 2, 4, 3]]

    def test_each_class_once_and_maps_at_the_size_of_the_image(self):
        one, two = response((0, 0, 1.)), response((3, 5, 1.))
        found = ClassMapBoxes(ratio=0.9)(cues((7, one), (2, two), (7, one)), (8, 12), None,
                                         torch.tensor([0.4, 0.9, 0.4]))
        assert found.labels.tolist() == [2, 7]
        assert found.bboxes.tolist() == [[11, 7, 12, 8], [0, 0, 1, 1]]  # 2 x 2 blocks fall off towards the middle

    def test_nothing_marked_or_no_cue(self):
        source = ClassMapBoxes()
        for given in (cues((0, response(level=-1.))), cues()):
            found = source(given, (4, 6), None, torch.ones(len(given)))
            assert found.bboxes.shape == (0, 4) and len(found.labels) == len(found.scores) == 0

    @pytest.mark.parametrize('kwargs', [dict(rule='median'), dict(regions='some')])
    def test_unknown_settings(self, kwargs):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            ClassMapBoxes(**kwargs)


class TestGroundTruthBoxes:

    def test_takes_what_counts(self):
        instances = [dict(bbox=[1., 2, 3, 4], bbox_label=5, ignore_flag=0), dict(bbox=[0, 0, 9, 9], bbox_label=1,
                                                                                ignore_flag=1)]
        found = GroundTruthBoxes()(cues(), (9, 9), DetDataSample(metainfo=dict(instances=instances)), torch.zeros(0))
        assert found.labels.tolist() == [5] and found.scores.tolist() == [1]
        assert found.bboxes.tolist() == [[1, 2, 3, 4]]

    def test_image_without_objects_and_sample_without_ground_truth(self):
        empty = GroundTruthBoxes()(cues(), (9, 9), DetDataSample(metainfo=dict(instances=[])), torch.zeros(0))
        assert empty.bboxes.shape == (0, 4)
        with pytest.raises(ValueError, match='a.jpg has no ground truth.*LoadVOCInstances'):
            GroundTruthBoxes()(cues(), (9, 9), DetDataSample(metainfo=dict(img_path='a.jpg')), torch.zeros(0))


def detection(**kwargs):
    return dict(dict(image_id='a', score=0.5, bbox=[1, 2, 3, 4], **{'class': 'dog'}), **kwargs)


@pytest.fixture
def write(tmp_path):
    def call(content):
        path = tmp_path / 'detections.json'
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)
    return call


class TestDetectionFileBoxes:

    def boxes(self, path, image_id='a', **kwargs):
        sample = DetDataSample(metainfo=dict(img_id=image_id))
        return DetectionFileBoxes(path, ('cat', 'dog'), **kwargs)(cues(), (10, 8), sample, torch.zeros(0))

    def test_boxes_of_the_image_cut_at_its_border(self, write):
        path = write(dict(detections=[
            detection(), detection(image_id='b'), detection(bbox=[-3, 5.5, 20, 11], score=-2, **{'class': 'cat'}),
            detection(bbox=[8, 0, 9, 3])]))
        found = self.boxes(path)
        assert found.labels.tolist() == [1, 0]
        assert found.scores.tolist() == [0.5, -2]
        assert found.bboxes.tolist() == [[1, 2, 3, 4], [0, 5.5, 8, 10]]
        assert len(self.boxes(path, min_score=0.).labels) == 1
        assert self.boxes(path, 'unheard of').bboxes.shape == (0, 4)

    @pytest.mark.parametrize('entry, message', [
        (detection(bbox=[3, 2, 1, 4]), 'detection 1: bbox must be .*x1 < x2'),
        (detection(bbox=[1, 2, 3]), 'detection 1: .*four numbers'),
        (detection(bbox=None), 'detection 1: '),
        (detection(score='high'), 'detection 1: score must be a number'),
        (detection(score=float('nan')), 'detection 1: score must be a number'),
        (detection(**{'class': 'unicorn'}), "detection 1: class 'unicorn' is none of"),
        (dict(image_id='a'), "detection 1 lacks the key 'class'"),
        ('dog', 'detection 1: ')])
    def test_faulty_detections_are_named(self, write, entry, message):
        path = write(dict(detections=[detection(), entry]))
        with pytest.raises(ValueError, match=message):
            load_detections(path, ('cat', 'dog'))

    @pytest.mark.parametrize('content', ['', '{"detections": [', '[]', '{"detections": 3}'])
    def test_faulty_files(self, write, content):
        with pytest.raises(ValueError, match='detections.json .*docs/table1.md'):
            load_detections(write(content), ('cat', ))

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='no file of detections .*docs/table1.md'):
            load_detections(str(tmp_path / 'none.json'), ('cat', ))
