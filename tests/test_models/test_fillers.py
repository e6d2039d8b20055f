import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmiam.models.fillers import InstanceExtentFiller
from mmiam.models.fillers.weight_pyramid import FillingWeightPyramid

CHANNELS = (3, 5, 6)


def pyramid(images, height, width):
    """Levels of strides 4, 8 and 16 of images of that size."""
    return [torch.randn(images, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, (4, 8, 16))]


def make_filler(seed=0, **kwargs):
    """A small filler with fixed weights, in eval mode."""
    torch.manual_seed(seed)
    return InstanceExtentFiller(**dict(dict(in_channels=CHANNELS, channels=2, hidden_channels=4), **kwargs)).eval()


class TestInstanceExtentFiller:

    @pytest.mark.parametrize('size', [(16, 24), (17, 22), (9, 31), (3, 5), (1, 1)])
    @pytest.mark.parametrize('kwargs', [{}, dict(kernel_size=5, weight_norm='relu_sum'), dict(weight_norm='abs_sum'),
                                        dict(stride=8, num_stacks=3, context_channels=2), dict(num_stacks=1),
                                        dict(num_stacks=1, stride=8), dict(stride=12)])
    def test_a_logit_for_each_pixel(self, size, kwargs):
        logits = make_filler(**kwargs)(pyramid(2, *size), torch.rand(3, *size), torch.tensor([1, 0, 1]))
        assert logits.shape == (3, *size) and logits.isfinite().all()
        none = torch.zeros(0, dtype=torch.long)
        assert make_filler(**kwargs)(pyramid(2, *size), torch.zeros(0, *size), none).shape == (0, *size)

    @pytest.mark.parametrize('size, steps', [((16, 28), 7), ((30, 9), 8), ((17, 18), 5)])
    def test_steps_default_to_the_longer_side_of_the_encoded_map(self, size, steps):
        filler = make_filler()
        inputs = pyramid(1, *size), torch.rand(2, *size), torch.zeros(2, dtype=torch.long)
        default = filler(*inputs)
        filler.num_steps = steps
        assert filler(*inputs).equal(default)
        filler.num_steps = steps - 1
        assert not torch.allclose(filler(*inputs), default, atol=1e-6)

    def test_a_side_that_was_rounded_up_is_cut_not_squeezed(self):
        filler, decoded = make_filler(), []
        filler.decoder.register_forward_hook(lambda module, inputs, output: decoded.append(output))
        logits = filler(pyramid(1, 18, 13), torch.rand(2, 18, 13), torch.zeros(2, dtype=torch.long))
        assert decoded[0].shape[-2:] == (20, 16) and logits.equal(decoded[0][:, 0, :18, :13])

    def test_no_steps_is_encoder_and_decoder_alone(self):
        filler = make_filler(num_steps=0)
        cue = torch.rand(1, 16, 16)
        expected = filler.decoder(filler.encoder((cue / cue.max())[:, None]))[:, 0]
        assert torch.allclose(filler(pyramid(1, 16, 16), cue, torch.zeros(1, dtype=torch.long)), expected, atol=1e-6)

    @pytest.mark.parametrize('kernel_size, center', [(3, 4), (5, 12)])
    def test_center_bias_holds_the_value_of_a_location(self, kernel_size, center):
        feats = pyramid(1, 32, 32)
        plain, biased = (make_filler(kernel_size=kernel_size, center_bias=bias).filling_weights(feats, (8, 8))
                         for bias in (0., 2.))
        gain = (biased / plain)[0, :, :, 3, 3]  # far from the border: no weight is zero
        assert torch.allclose(gain[:, center] / gain[:, 0], torch.full((2,), float(np.exp(2))), rtol=1e-4)

    def test_a_stride_is_the_same_filler_on_pooled_cues(self):
        plain, strided = (make_filler(num_stacks=1, stride=stride) for stride in (2, 4))
        feats, index = pyramid(1, 8, 12), torch.tensor([0, 0])  # of a grid of 4 x 6 cells
        cues = torch.rand(2, 16, 24)
        pooled = cues.unflatten(1, (8, 2)).unflatten(3, (12, 2)).mean((2, 4))
        expected = F.interpolate(plain(feats, pooled, index)[:, None], size=(16, 24), mode='bilinear')[:, 0]
        torch.testing.assert_close(strided(feats, cues, index), expected)

    def test_the_decoder_reads_the_context_of_its_own_image(self):
        filler, feats, cues = make_filler(context_channels=3), pyramid(2, 16, 24), torch.rand(3, 16, 24)
        index = torch.tensor([1, 0, 1])
        found = filler(feats, cues, index)
        for i, image in enumerate(index.tolist()):
            alone = filler([level[image:image + 1] for level in feats], cues[i:i + 1], torch.zeros(1, dtype=torch.long))
            assert torch.allclose(found[i], alone[0], atol=1e-5)
        plain = make_filler()
        assert plain.context is None and not any('context' in name for name in plain.state_dict())
        with torch.no_grad():  # without steps the features reach the map through the context alone
            filler.num_steps = plain.num_steps = 0
            other = [level + 1 for level in feats]
            assert not torch.allclose(filler(feats, cues, index), filler(other, cues, index), atol=1e-5)
            assert plain(feats, cues, index).equal(plain(other, cues, index))

    @pytest.mark.parametrize('scale', [1e-12, 1e-3, 1e6])
    def test_the_scale_of_the_cue_does_not_matter(self, scale):
        filler, feats, index = make_filler(), pyramid(1, 16, 16), torch.tensor([0, 0])
        cues = torch.rand(2, 16, 16)
        result = filler(feats, cues, index)
        scaled = filler(feats, cues * torch.tensor([scale, 1.])[:, None, None], index)
        assert torch.allclose(scaled, result, atol=1e-5)
        assert filler(feats, torch.zeros(2, 16, 16), index).isfinite().all()

    def test_only_the_chosen_outputs_of_the_backbone_count(self):
        levels = pyramid(1, 16, 16)
        filler = make_filler(in_channels=(3, 6), in_indices=(1, 3))
        junk = torch.full((1, 1, 2, 2), float('nan'))
        logits = filler([junk, levels[0], junk, levels[2]], torch.rand(1, 16, 16), torch.tensor([0]))
        assert logits.isfinite().all()

    def test_gradients_reach_every_part(self):
        filler = make_filler().train()
        feats = pyramid(2, 16, 20)
        for feat in feats:
            feat.requires_grad_()
        logits = filler(feats, torch.rand(3, 16, 20), torch.tensor([0, 1, 1]))
        filler.loss(logits, torch.rand(3, 16, 20) > 0.6)['loss_fill'].backward()
        for name, module in filler.named_children():
            for parameter_name, parameter in module.named_parameters():
                assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, (name, parameter_name)
        assert all(feat.grad.abs().sum() > 0 for feat in feats)

    def test_levels_must_agree(self):
        for stride in (0, -4, 2.5, 6):
            with pytest.raises(ValueError, match='stride is a multiple of 4'):
                make_filler(stride=stride)
        with pytest.raises(ValueError, match=r'in_channels \(3, 5, 6\) and in_indices \(0, 1\)'):
            InstanceExtentFiller(in_channels=CHANNELS, in_indices=(0, 1))


class TestLoss:
    # probabilities 0.5 and 0.75 inside, 0.75 and 0.75 outside
    logits = torch.tensor([[[0., np.log(3.)], [np.log(3.), np.log(3.)]]])
    targets = torch.tensor([[[True, True], [False, False]]])

    def test_by_hand(self):
        expected = -(np.log(0.5) + np.log(0.75) + 2 * np.log(0.25)) / 4
        loss = make_filler().loss(self.logits, self.targets)
        assert list(loss) == ['loss_fill']
        assert loss['loss_fill'].item() == pytest.approx(expected)
        assert make_filler(loss_weight=3.).loss(self.logits, self.targets)['loss_fill'].item() == pytest.approx(
            3 * expected)

    def test_auxiliary_loss_by_hand(self):
        # probabilities 3/4, 1/2, 1/2
        logits, targets = torch.tensor([[[np.log(3.), 0., 0.]]]), torch.tensor([[[True, False, False]]])
        losses = make_filler(aux_loss=dict(type='DiceLoss', eps=0.)).loss(logits, targets)
        assert list(losses) == ['loss_fill', 'loss_aux']
        assert losses['loss_fill'].item() == pytest.approx((np.log(4 / 3) + 2 * np.log(2)) / 3)
        # 1 - 2 <p, t> / (<p, p> + <t, t>) = 1 - 2 * 3/4 / (17/16 + 1)
        assert losses['loss_aux'].item() == pytest.approx(1 - 1.5 / (33 / 16))


class TestFillingWeightPyramid:

    def make(self, channels=CHANNELS):
        torch.manual_seed(0)
        return FillingWeightPyramid(channels, 9, hidden_channels=4)

    def test_adds_upsampled_deeper_levels(self):
        model, (shallow, middle, deep) = self.make(), pyramid(2, 16, 24)
        first, second, third = [level(feat) for level, feat in zip(model.levels, (shallow, middle, deep))]
        middle_size, shallow_size = second.shape[-2:], first.shape[-2:]
        second = second + F.interpolate(third, middle_size, mode='bilinear')
        expected = first + F.interpolate(second, shallow_size, mode='bilinear')
        assert torch.allclose(model([shallow, middle, deep], (4, 6)), expected, atol=1e-6)

    @pytest.mark.parametrize('size', [(7, 4), (9, 11)])
    def test_a_finer_map_is_that_of_the_shallowest_level_resized(self, size):
        model, feats = self.make(), pyramid(2, 16, 24)
        expected = F.interpolate(model(feats, (4, 6)), size, mode='bilinear')
        assert torch.allclose(model(feats, size), expected, atol=1e-6)

    def test_levels_finer_than_the_map_are_averaged_first(self):
        model, (shallow, middle, deep) = self.make(), pyramid(1, 16, 24)
        averaged = shallow.unflatten(2, (2, 2)).unflatten(4, (3, 2)).mean((3, 5))  # 4 x 6 -> 2 x 3, the map's size
        torch.testing.assert_close(model([shallow, middle, deep], (2, 3)), model([averaged, middle, deep], (2, 3)))
