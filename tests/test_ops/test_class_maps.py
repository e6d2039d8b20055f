import pytest
import torch
import torch.nn.functional as F

from mmiam.ops import class_maps_over_image


def strided(image, layers):
    """A network of stride 2 ** layers whose cells copy the pixel on which they are centered."""
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[..., 1, 1] = 1
    for _ in range(layers):
        image = F.conv2d(image, kernel, stride=2, padding=1)
    return image


@pytest.mark.parametrize('size', [(32, 48), (33, 47), (20, 9)])
@pytest.mark.parametrize('sub_pixel', [1, 4])
def test_values_lie_over_the_pixels_they_come_from(size, sub_pixel):
    """A plane survives bilinear interpolation: it comes back as it was, as far as the last cell reaches."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing='ij')
    image = (2. * y - 3. * x)[None, None]
    response = strided(image, 3)
    cells = response.shape[-2:]
    if sub_pixel > 1:
        response = F.interpolate(response, scale_factor=sub_pixel, mode='bilinear', align_corners=True)
    back = class_maps_over_image(response[0], cells, size)
    rows, columns = (8 * (count - 1) + 1 for count in cells)
    assert back.shape == (1, *size)
    assert torch.allclose(back[0, :rows, :columns], image[0, 0, :rows, :columns], atol=1e-3)
    assert torch.equal(back[:, rows:], back[:, rows - 1:rows].expand_as(back[:, rows:]))


def test_one_cell_covers_all():
    assert torch.equal(class_maps_over_image(torch.full((2, 1, 1), 3.), (1, 1), (5, 7)), torch.full((2, 5, 7), 3.))


def test_no_maps():
    assert class_maps_over_image(torch.zeros(0, 4, 4), (4, 4), (8, 9)).shape == (0, 8, 9)
