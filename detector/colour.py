"""Other colours for a whole batch, on the device that it lies on. No I/O."""

import torch
from torch import Tensor

_TINY = 1e-6


def recoloured(images: Tensor, colours: Tensor) -> Tensor:
    """Images with the draws of `data.augment.draw_colour`: what `recolour` there does to bytes, without its rounding.

    To HSV and back in closed form (Smith, "Color Gamut Transform Pairs", 1978): with H in sixths of a turn, a channel
    is V - V S max(0, min(k, 4 - k, 1)), where k is 5 + H for red, 3 + H for green and 1 + H for blue, modulo 6.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        colours: (B, 3); hue shift in turns, factors on saturation and on value.

    Returns:
        (B, 3, H, W), channels last.
    """
    shift, more_saturation, exposure = colours[:, :, None, None].unbind(1)
    red, green, blue = images.unbind(1)
    value, strongest = images.max(1)
    chroma = value - images.amin(1)
    most = chroma.clamp(min=_TINY)
    sixths = torch.where(
        strongest == 0,
        (green - blue) / most,
        torch.where(strongest == 1, 2 + (blue - red) / most, 4 + (red - green) / most),
    )
    saturation = (chroma / value.clamp(min=_TINY) * more_saturation).clamp(max=1)
    value = (value * exposure).clamp(max=1)
    k = ((sixths + 6 * shift)[..., None] + torch.arange(5, 0, -2, device=images.device)) % 6
    away = torch.minimum(k, 4 - k).clamp(0, 1)
    return (value[..., None] - (value * saturation)[..., None] * away).permute(0, 3, 1, 2)
