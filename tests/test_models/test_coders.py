import pytest
import torch

from mmiam.models.fillers.coders import CueEncoder, MapDecoder


@pytest.mark.parametrize('make, shape, out', [(CueEncoder, (3, 1, 18, 27), (3, 4, 5, 7)),
                                              (MapDecoder, (3, 4, 5, 7), (3, 1, 20, 28))])
class TestFusedConvStack:

    def stack(self, make):
        """With statistics and scales that a fold must not lose."""
        torch.manual_seed(0)
        coder = make(4)
        for module in coder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.data.uniform_(0.5, 2)
                module.bias.data.normal_()
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        return coder

    def test_inference_equals_the_plain_layers(self, make, shape, out):
        coder, maps = self.stack(make).eval(), torch.randn(shape)
        with torch.no_grad():
            found, expected = coder(maps), coder.layers(maps)
            assert coder(maps[:0]).shape == (0, *out[1:])
        assert found.shape == out
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in coder.layers)  # the fold leaves them alone

    def test_weights_may_change_between_two_inferences(self, make, shape, out):
        coder, maps = self.stack(make).eval(), torch.randn(shape)
        with torch.no_grad():
            before = coder(maps)
            coder.layers[-1 if make is MapDecoder else 0].weight.mul_(2)
            assert not torch.allclose(coder(maps), before)
