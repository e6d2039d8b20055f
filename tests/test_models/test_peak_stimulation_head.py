import torch

from mmiam.models.heads import PeakStimulationHead


def head(**kwargs):
    return PeakStimulationHead(**(dict(num_classes=2, in_channels=3, sub_pixel=1, peak_thr=0.) | kwargs))


def response_with(*values, size=7):
    """One image, two classes; values are (class, y, x, height) on a background of -1."""
    response = torch.full((1, 2, size, size), -1.)
    for label, y, x, height in values:
        response[0, label, y, x] = height
    return response


def test_forward_enlarges_the_response_by_the_sub_pixel_factor():
    feats = (torch.zeros(1, 8, 4, 4), torch.randn(2, 3, 5, 4))
    assert head(sub_pixel=8)(feats).shape == (2, 2, 40, 32)
    plain = head()
    torch.testing.assert_close(plain(feats), plain.classifier(feats[-1]))


def test_cues_are_the_peaks_of_predicted_classes_in_descending_order():
    scores, cues = head().find_cues(response_with((0, 1, 1, 2.), (0, 4, 5, 6.), (1, 3, 3, 4.)))
    # class 0: flat background pixels are tied, only the first of each window is a peak besides; thr 0 drops them
    assert cues[0].labels.tolist() == [0, 1, 0]
    assert cues[0].peaks.tolist() == [[4, 5], [3, 3], [1, 1]]
    assert cues[0].peak_scores.tolist() == [6., 4., 2.]
    torch.testing.assert_close(cues[0].class_scores, scores[0, cues[0].labels])


def test_image_labels_restrict_the_classes_and_lift_the_class_threshold():
    response = response_with((0, 1, 1, 2.), (1, 3, 3, 4.))
    assert head(class_thr=100.).find_cues(response)[1][0].labels.tolist() == []
    assert head(class_thr=100.).find_cues(response, [[1]])[1][0].labels.tolist() == [1]


def test_peak_thresholds_absolute_relative_and_keep_strongest():
    response = response_with((0, 1, 1, 2.), (0, 4, 5, 6.), (1, 3, 3, 4.))
    found = lambda **kwargs: head(**kwargs).find_cues(response)[1][0].peak_scores.tolist()  # noqa: E731
    assert found(peak_thr=3.) == [6., 4.]
    assert found(relative_peak_thr=0.5) == [6., 4.]
    assert found(relative_peak_thr=0.3) == [6., 4., 2.]
    assert found(peak_thr=5.) == [6.]
    assert found(peak_thr=5., keep_strongest=True) == [6., 4.]
    assert found(max_peaks=1) == [6.]


def test_no_peak_gives_empty_cues_that_can_be_concatenated():
    _, cues = head(class_thr=0.).find_cues(torch.full((1, 2, 5, 5), -3.))
    assert len(cues[0]) == 0 and cues[0].peaks.shape == (0, 2) and cues[0].labels.dtype == torch.long


def test_loss_is_the_multi_label_soft_margin_of_the_mean_peak():
    module = head(peak_filter=None)
    with torch.no_grad():
        module.classifier.weight.zero_()
        module.classifier.bias.copy_(torch.tensor([2., -1.]))
    loss = module.loss((torch.zeros(1, 3, 3, 3), ), torch.tensor([[1., 0.]]))['loss_cls']
    expected = -(torch.tensor(2.).sigmoid().log() + torch.tensor(1.).sigmoid().log()) / 2
    torch.testing.assert_close(loss, expected)


def test_each_peak_has_the_whole_gradient_unless_asked_otherwise():
    grads = []
    for kwargs in (dict(), dict(grad_mode='official'), dict(grad_mode='mean')):
        torch.manual_seed(0)
        module = head(**kwargs)
        module.loss((torch.randn(2, 3, 6, 6), ), torch.tensor([[1., 0.], [0., 1.]]))['loss_cls'].backward()
        grads.append(module.classifier.weight.grad)
    assert torch.equal(grads[0], grads[1]) and grads[2].norm() < grads[0].norm() / 2
