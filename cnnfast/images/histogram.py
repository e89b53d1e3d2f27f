"""Matching the histograms of pictures, channel by channel."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnfast.images.errors import ImageError, check_picture

_ANY_CHANNELS = (1, 2, 3, 4)


def match_histogram(image: Tensor, reference: Tensor) -> Tensor:
    """Give every channel of a picture the distribution of values of the same channel of a reference.

    With n pixels in `image`, the r-th smallest (r = 0..n-1, equal values in reading order) becomes the r/(n-1) quantile
    of the reference, linear between its sorted values. Afterwards both have the same distribution, also where `image`
    repeats a value, which `skimage.exposure.match_histograms` maps to one value.

    Args:
        image: [C,H,W], C = 1..4, floating point, finite.
        reference: [C,H2,W2], any size.

    Returns:
        [C,H,W] with the dtype and device of `image`.

    Raises:
        ImageError: shapes or values as above are not given.
        TypeError: not floating-point tensors.

    Example:
        >>> import torch
        >>> from cnnfast.images import match_histogram
        >>> match_histogram(torch.tensor([[[0.5, 0.1, 0.3]]]), torch.tensor([[[0.0, 1.0]]]))
        tensor([[[1.0000, 0.0000, 0.5000]]])
    """
    check_picture("match_histogram", image, _ANY_CHANNELS)
    check_picture("match_histogram", reference, _ANY_CHANNELS, name="reference")
    if image.shape[0] != reference.shape[0]:
        raise ImageError(
            f"match_histogram: expected reference with {image.shape[0]} channels, got {reference.shape[0]}"
        )
    channels = [
        _match(channel.reshape(-1), values.reshape(-1).to(channel.device))
        for channel, values in zip(image.detach(), reference.detach(), strict=True)
    ]
    return torch.stack(channels).reshape(image.shape).to(image.dtype)


def _match(channel: Tensor, reference: Tensor) -> Tensor:
    # Positions in float64: float32 cannot tell neighbours apart beyond 2^24 pixels.
    values = reference.double().sort().values
    last = values.numel() - 1
    if channel.numel() == 1:
        position = values.new_tensor([0.5]) * last
    else:
        ranks = torch.arange(channel.numel(), dtype=torch.float64, device=channel.device)
        position = ranks * last / (channel.numel() - 1)
    below = position.floor().long().clamp(max=last)
    above = (below + 1).clamp(max=last)
    quantiles = torch.lerp(values[below], values[above], position - below)
    matched = torch.empty_like(quantiles)
    matched[channel.argsort(stable=True)] = quantiles
    return matched
