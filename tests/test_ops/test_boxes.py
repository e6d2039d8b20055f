import torch

from mmiam.ops import box_iou, box_masks, ellipse_masks


def test_a_box_holds_the_pixels_whose_centres_it_holds():
    masks = box_masks(torch.tensor([[1., 0., 3., 2.], [0.6, 0., 1.4, 9.], [0., 0., 0.5, 1.]]), (2, 4))
    assert masks.int().tolist() == [[[0, 1, 1, 0], [0, 1, 1, 0]],
                                    [[0, 0, 0, 0], [0, 0, 0, 0]],  # between the centres 0.5 and 1.5
                                    [[0, 0, 0, 0], [0, 0, 0, 0]]]  # 0.5 is not below 0.5


def test_ellipse_by_hand():
    # 4 x 4 box: centres at +-0.25, +-0.75 of the half axes; only the corners, .75^2 + .75^2 = 1.125, lie outside
    masks = ellipse_masks(torch.tensor([[0., 0., 4., 4.], [2., 1., 3., 2.]]), (4, 4))
    corners = torch.ones(4, 4, dtype=torch.bool)
    corners[::3, ::3] = False
    assert masks[0].equal(corners)
    assert masks[1].nonzero().tolist() == [[1, 2]]  # one pixel fills its ellipse


def test_masks_equal_slow_ones():
    generator = torch.manual_seed(0)
    low = torch.rand(8, 2, generator=generator, dtype=torch.float64) * 5
    boxes = torch.cat([low, low + 0.1 + 6 * torch.rand(8, 2, generator=generator, dtype=torch.float64)], 1)
    rect, ellipse = box_masks(boxes, (7, 9)), ellipse_masks(boxes, (7, 9))
    for number, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        for y in range(7):
            for x in range(9):
                assert rect[number, y, x] == (x1 <= x + 0.5 < x2 and y1 <= y + 0.5 < y2)
                across, down = (x + 0.5 - (x1 + x2) / 2) / ((x2 - x1) / 2), (y + 0.5 - (y1 + y2) / 2) / ((y2 - y1) / 2)
                assert ellipse[number, y, x] == (across**2 + down**2 <= 1)


def test_iou_by_hand_and_by_pixels():
    first = torch.tensor([[0., 0., 4., 2.], [1., 1., 3., 5.]])
    second = torch.tensor([[2., 0., 6., 2.], [4., 0., 5., 2.], [1., 1., 3., 5.], [0., 0., 0., 0.]])
    iou = box_iou(first, second)
    torch.testing.assert_close(iou[0], torch.tensor([4 / 12, 0., 2 / 14, 0.]))
    a, b = box_masks(first, (6, 6)).flatten(1).float(), box_masks(second, (6, 6)).flatten(1).float()
    common = a @ b.T
    torch.testing.assert_close(iou, common / (a.sum(1)[:, None] + b.sum(1)[None] - common))


def test_no_boxes():
    none = torch.zeros(0, 4)
    assert box_masks(none, (2, 3)).shape == ellipse_masks(none, (2, 3)).shape == (0, 2, 3)
    assert box_iou(none, torch.zeros(2, 4)).shape == (0, 2)
