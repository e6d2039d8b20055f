import pytest
import torch
import torch.nn.functional as F

from mmiam.ops import class_maps_over_image
from mmiam.ops.class_maps import pixel_positions


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


def test_one_cell_covers_all_and_no_maps():
    assert class_maps_over_image(torch.zeros(0, 4, 4), (4, 4), (8, 9)).shape == (0, 8, 9)
    assert torch.equal(class_maps_over_image(torch.full((2, 1, 1), 3.), (1, 1), (5, 7)), torch.full((2, 5, 7), 3.))


def test_maps_of_another_first_cell_by_hand():
    """Two cells of a stride of 4, the first on pixel 3, as a network with padding at the far side has them."""
    maps = torch.tensor([[[0., 4.]]])
    back = class_maps_over_image(maps, (1, 2), (1, 8), offset=(0, 3))
    assert back[0, 0].tolist() == pytest.approx([0, 0, 0, 0, 1, 2, 3, 4], abs=1e-5)
    plain = class_maps_over_image(maps, (1, 2), (1, 8))
    assert plain[0, 0].tolist() == pytest.approx([0, 1, 2, 3, 4, 4, 4, 4], abs=1e-5)
    turned = class_maps_over_image(maps.mT, (2, 1), (8, 1), offset=(3, 0))
    assert turned[0, :, 0].tolist() == back[0, 0].tolist()


@pytest.mark.parametrize('place, map_size, offset, expected', [
    ((0, 0), (2, 3), (0, 0), (0, 0)), ((1, 2), (2, 3), (0, 0), (4, 8)), ((1, 2), (2, 3), (3, 1), (7, 9)),
    # enlarged with align_corners to 6 x 9: the corners stay, the fourth of eight columns is half way
    ((5, 8), (6, 9), (0, 0), (4, 8)), ((0, 4), (6, 9), (3, 1), (3, 5)), ((1, 2), (6, 9), (0, 0), (.8, 2))])
def test_places_by_hand(place, map_size, offset, expected):
    """2 x 3 cells over 8 x 12 pixels."""
    found = pixel_positions(torch.tensor([place]), map_size, (2, 3), (8, 12), offset)
    assert found.tolist() == [pytest.approx(expected)]


def test_places_stay_in_the_image_and_one_cell_has_one():
    """A last cell of an image of 5 pixels would lie on pixel 3 + 4."""
    assert pixel_positions(torch.tensor([[0, 1]]), (1, 2), (1, 2), (5, 5), (2, 3)).tolist() == [[2, 4]]
    assert pixel_positions(torch.zeros(0, 2, dtype=torch.long), (4, 4), (4, 4), (9, 9)).shape == (0, 2)
