"""Instance extent filling (Sec. 3.2, Eq. 2 and 3).

    G^k_ij = sum_{uv in N_ij} Y_ij W_{c;ij;uv} G^{k-1}_uv,    0 < k <= N

Legend of shapes: I instances, B images, C channels, H x W locations, r the window's side, N filling steps.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

NORMALIZE_MODES = ('softmax', 'relu_sum', 'abs_sum')


def window_inside(height: int, width: int, kernel_size: int, device=None) -> Tensor:
    """Which neighbours of each location are in the image: bool, has shape (r*r, H, W), window row-major."""
    offsets = torch.arange(kernel_size, device=device) - kernel_size // 2
    rows = torch.arange(height, device=device) + offsets[:, None]
    cols = torch.arange(width, device=device) + offsets[:, None]
    rows_in = (rows >= 0) & (rows < height)
    cols_in = (cols >= 0) & (cols < width)
    return (rows_in[:, None, :, None] & cols_in[None, :, None, :]).flatten(0, 1)


def normalize_filling_weights(logits: Tensor, kernel_size: int = 3, mode: str = 'softmax') -> Tensor:
    """Filling weights from the pyramid's output: the normaliser Y of Eq. (3).

    Neighbours outside the image are left out before normalising, so that the weights of the neighbours inside sum
    to 1 at every location and nothing leaks over the border (the paper does not state the border; our choice,
    because zero padding makes a constant field fade from the border inwards). How Y makes the sum 1 is not stated
    either: softmax by default, because its sum cannot be zero.

    Args:
        logits (Tensor): Output of the weight pyramid, has shape (B, C*r*r, H, W), channel layout c*r*r + k as
            in ``F.unfold``, k row-major over the window.
        kernel_size (int): The window's side r, odd. Defaults to 3.
        mode (str): 'softmax' over the window; 'relu_sum': max(x, 0) over its sum; 'abs_sum': |x| over its sum.
            Where such a sum is zero, the neighbours in the image share equally. Defaults to 'softmax'.

    Returns:
        Tensor: Weights >= 0, has shape (B, C, r*r, H, W); exactly 0 for neighbours outside the image.

    Raises:
        ValueError: If the mode is unknown, r is even, or the channels are not a multiple of r*r.
    """
    if mode not in NORMALIZE_MODES:
        raise ValueError(f'mode must be one of {NORMALIZE_MODES}, got {mode!r}')
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f'kernel_size must be odd and positive, got {kernel_size}')
    if logits.dim() != 4 or logits.size(1) % kernel_size**2:
        raise ValueError(f'logits must be (B, C*{kernel_size**2}, H, W), got shape {tuple(logits.shape)}')
    height, width = logits.shape[-2:]
    inside = window_inside(height, width, kernel_size, logits.device)
    logits = logits.unflatten(1, (-1, kernel_size**2))
    if mode == 'softmax':
        return logits.masked_fill(~inside, float('-inf')).softmax(dim=2)
    values = (logits.relu() if mode == 'relu_sum' else logits.abs()) * inside
    total = values.sum(2, keepdim=True)
    uniform = (inside / inside.sum(0)).to(values)
    return torch.where(total > 0, values / torch.where(total > 0, total, 1), uniform)


def extent_filling(features: Tensor, weights: Tensor, num_steps: int, image_index: Tensor | None = None) -> Tensor:
    """Run ``num_steps`` filling steps (Eq. 2 and 3)."""
    num, channels, height, width = features.shape
    taps = weights.size(2)
    kernel_size = round(taps**0.5)
    if image_index is None and weights.size(0) not in (1, num):
        raise ValueError('image_index is needed')
    weights = weights * window_inside(height, width, kernel_size, weights.device)
    if image_index is not None:
        weights = weights[image_index]
    for _ in range(num_steps):
        cols = F.unfold(features, kernel_size, padding=kernel_size // 2)
        features = (cols.view(num, channels, taps, height, width) * weights).sum(2)
    return features
