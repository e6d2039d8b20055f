import numpy as np
import pytest
import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmiam.models.baselines import BoxToMask, PrecomputedPredictions
from mmiam.models.baselines.box_to_mask import fill_boxes, fill_ellipses
from mmiam.proposals import SegmentProposals

SIZE = (6, 8)


@TASK_UTILS.register_module(name='BoxesOfTheTest')
class BoxesOfTheTest:
    """Gives the boxes that it was given."""

    def __init__(self, boxes, scores=None):
        self.boxes, self.scores = boxes, scores

    def __call__(self, cues, size, data_sample, evidence):
        return InstanceData(bboxes=torch.tensor(self.boxes).reshape(-1, 4).float(),
                            labels=torch.arange(len(self.boxes)),
                            scores=torch.tensor(self.scores or [1.] * len(self.boxes)).reshape(-1))


def masks_of(*boxes, mask='rect', sample=None, **kwargs):
    source = dict(type='BoxesOfTheTest', boxes=list(boxes), scores=kwargs.pop('scores', None))
    post_processor = BoxToMask(source, mask, **kwargs)
    image = torch.zeros(3, *SIZE)
    return post_processor(PrecomputedPredictions.no_cues(image), image, sample or DetDataSample())


@pytest.fixture
def proposals():
    """Proposals: left half; a cross-like union whose box is the whole image; the lower right 2 x 2 pixels."""
    labels = np.zeros(SIZE, np.int64)
    labels[:, 4:] = 1
    labels[4:, 6:] = 2
    return SegmentProposals([labels], [np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1]], bool)])


def with_proposals(proposals):
    sample = DetDataSample()
    sample.set_field(proposals, 'segment_proposals')
    return sample


@pytest.mark.parametrize('mask, function', [('rect', fill_boxes), ('ellipse', fill_ellipses)])
def test_shapes(mask, function):
    boxes = [[1, 1, 5, 4], [0, 2, 8, 6]]
    found = masks_of(*boxes, mask=mask, scores=[0.2, 0.7])
    assert found.labels.tolist() == [1, 0] and found.scores.tolist() == pytest.approx([0.7, 0.2])
    assert found.masks.equal(function(torch.tensor(boxes).float(), SIZE)[[1, 0]])
    assert found.bboxes.shape == (2, 4)


def test_the_proposal_whose_box_overlaps_most_is_taken(proposals):
    found = masks_of([0, 0, 3, 6], [5, 4, 8, 6], [0, 0, 8, 5], mask='proposal', sample=with_proposals(proposals))
    assert found.masks[found.labels.argsort()].equal(torch.from_numpy(proposals.masks([0, 2, 1])))


def test_a_box_beside_all_proposals_gives_no_instance(proposals):
    sample = with_proposals(proposals.select([2]))
    assert masks_of([0, 0, 3, 3], [6, 3, 8, 6], mask='proposal', sample=sample).labels.tolist() == [1]
    assert len(masks_of([0, 0, 3, 3], mask='proposal', sample=with_proposals(SegmentProposals.empty(SIZE)))) == 0
    assert len(masks_of(mask='proposal', sample=sample)) == 0


def test_duplicates_fall_unless_told_otherwise():
    class OneClass(BoxesOfTheTest):
        def __call__(self, *args):
            found = super().__call__(*args)
            found.labels[:] = 0
            return found
    TASK_UTILS.register_module(name='BoxesOfOneClass', module=OneClass, force=True)
    source = dict(type='BoxesOfOneClass', boxes=[[0, 0, 4, 4], [0, 0, 4, 5]], scores=[0.2, 0.9])
    image = torch.zeros(3, *SIZE)
    for nms_iou, number in ((0.3, 1), (None, 2)):
        found = BoxToMask(source, nms_iou=nms_iou)(PrecomputedPredictions.no_cues(image), image, DetDataSample())
        assert len(found) == number and found.scores[0] == pytest.approx(0.9)


def test_errors(proposals):
    with pytest.raises(ValueError, match='LoadSegmentProposals'):
        masks_of([0, 0, 3, 3], mask='proposal')
    with pytest.raises(ValueError, match=r'\(12, 16\).*\(6, 8\)'):
        masks_of([0, 0, 3, 3], mask='proposal', sample=with_proposals(proposals.resize((12, 16))))
    with pytest.raises(ValueError, match='mask must be'):
        BoxToMask(dict(type='GroundTruthBoxes'), mask='oval')


def test_precomputed_predictions_evaluates_several_post_processors_on_the_image():
    rect = dict(type='BoxToMask', boxes=dict(type='GroundTruthBoxes'))
    model = PrecomputedPredictions(rect, dict(baselines=dict(ellipse=dict(rect, mask='ellipse'))))
    sample = DetDataSample(metainfo=dict(img_shape=SIZE, ori_shape=SIZE,
                                         instances=[dict(bbox=[0, 0, 4, 4], bbox_label=4)]))
    sample, = model.predict(torch.zeros(1, 3, 7, 9), [sample])  # padded
    assert sample.pred_instances.masks.shape == (1, *SIZE) and sample.pred_instances.masks.sum() == 16
    assert sample.pred_instances_ellipse.masks.sum() == 12
    with pytest.raises(RuntimeError, match='nothing to train'):
        model.loss(torch.zeros(1, 3, 7, 9), [sample])
    sample.set_metainfo(dict(ori_shape=(12, 16)))
    with pytest.raises(ValueError, match='no Resize'):
        model.predict(torch.zeros(1, 3, 7, 9), [sample])


def test_masks_equal_slow_ones():
    generator = torch.manual_seed(0)
    low = torch.rand(8, 2, generator=generator, dtype=torch.float64) * 5
    boxes = torch.cat([low, low + 0.1 + 6 * torch.rand(8, 2, generator=generator, dtype=torch.float64)], 1)
    boxes = torch.cat([boxes, boxes.new_tensor([[0.5, 0.5, 3.5, 1.5], [0.6, 0, 1.4, 9], [0, 0, 0.5, 1]])])
    rect, ellipse = fill_boxes(boxes, (7, 9)), fill_ellipses(boxes, (7, 9))
    assert fill_boxes(boxes[:0], (2, 3)).shape == fill_ellipses(boxes[:0], (2, 3)).shape == (0, 2, 3)
    for number, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        for y in range(7):
            for x in range(9):
                assert rect[number, y, x] == (x1 <= x + 0.5 < x2 and y1 <= y + 0.5 < y2)
                across, down = (x + 0.5 - (x1 + x2) / 2) / ((x2 - x1) / 2), (y + 0.5 - (y1 + y2) / 2) / ((y2 - y1) / 2)
                assert ellipse[number, y, x] == (across**2 + down**2 <= 1)
