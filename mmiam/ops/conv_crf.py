"""Convolutional CRF: mean-field inference whose pairwise term ends with a K x K window.

Legend of shapes: I instances of one image, K labels, H x W pixels.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

MODES = ('reference', 'mean_field')


def _pool(x: Tensor, blur: int, pad: tuple[int, int]) -> Tensor:
    return F.avg_pool2d(x, blur, padding=pad, count_include_pad=False)


@torch.no_grad()
def conv_crf(unary: Tensor, image: Tensor, kernel_size: int = 7, blur: int = 4, num_iters: int = 5,
             pos_sigma: float = 3., pos_compat: float = 3., col_sigma: float = 13., col_compat: float = 10.,
             weight: float = .2, unary_weight: float = 1., mode: str = 'reference') -> Tensor:
    """Refine label scores by a convolutional CRF."""
    if mode not in MODES:
        raise ValueError(f'mode must be one of {MODES}, got {mode!r}')
    height, width = unary.shape[-2:]
    if unary.size(0) == 0:
        return unary.float()
    pad = tuple(-(-(-size % blur) // 2) for size in (height, width))
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    pos = torch.stack([ys, xs]).to(image.device).float() / pos_sigma
    feats = [pos, image.float() / col_sigma]
    if blur > 1:
        feats = [_pool(f[None], blur, pad)[0] for f in feats]
    h, w = feats[0].shape[-2:]
    span = kernel_size // 2
    bank = []
    for dy in range(-span, span + 1):
        for dx in range(-span, span + 1):
            t = (slice(max(-dy, 0), max(h - max(dy, 0), 0)), slice(max(-dx, 0), max(w - max(dx, 0), 0)))
            s = (slice(max(dy, 0), max(h - max(-dy, 0), 0)), slice(max(dx, 0), max(w - max(-dx, 0), 0)))
            if abs(dy) >= h or abs(dx) >= w or (mode == 'mean_field' and dy == dx == 0):
                continue
            k = sum(c * (-.5 * (f[:, *t] - f[:, *s]).square().sum(0)).exp()
                    for c, f in zip((pos_compat, col_compat), feats))
            bank.append((t, s, k))
    logp = unary.float().log_softmax(1)
    keep = unary_weight - weight if mode == 'reference' else unary_weight
    q = logp if mode == 'reference' else logp.exp()
    scores = logp
    for _ in range(num_iters):
        small = _pool(q, blur, pad) if blur > 1 else q
        message = torch.zeros_like(small)
        for t, s, k in bank:
            message[..., t[0], t[1]].addcmul_(small[..., s[0], s[1]], k)
        if blur > 1:
            message = F.interpolate(message, scale_factor=blur, mode='bilinear', align_corners=False)
            message = message[..., pad[0]:pad[0] + height, pad[1]:pad[1] + width]
        scores = keep * logp + weight * message
        q = scores.softmax(1)
    return q
