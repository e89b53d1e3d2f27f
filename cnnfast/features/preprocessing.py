"""From an RGB picture in [0,1] to the input convention of a feature network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnfast.weights import Preprocessing

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
"""How a picture is padded beyond its edges."""


class InputConvention(nn.Module):
    """Brings RGB pictures in [0,1] into a network's convention: ``y_c = (unit * x_c - mean_c) / std_c``.

    The step is kept apart from the first convolution's weights: folded into its bias, a mean would be wrong wherever
    that convolution pads with zeros.

    Shape:
        - x: [B,3,H,W], RGB in [0,1].
        - y: [B,3,H,W], in the convention's channel order, same dtype and memory format.

    Args:
        convention: order, unit, mean and std.
        device: of the constants.
        dtype: of the constants.

    Example:
        >>> from cnnfast.weights import PREPROCESSINGS
        >>> layer = InputConvention(PREPROCESSINGS["caffe"])
        >>> layer(torch.ones(1, 3, 1, 1)).flatten()
        tensor([151.0610, 138.2210, 131.3200])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        convention: Preprocessing,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.convention = convention
        for name, values in (("mean", convention.mean), ("std", convention.std)):
            constants = torch.tensor(values, device=device, dtype=dtype).view(3, 1, 1)
            self.register_buffer(name, constants, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convention to x [B,3,H,W]."""
        y = x.flip(1) if self.convention.order == "BGR" else x
        return (y * self.convention.unit - self.mean) / self.std

    def inverse(self, y: Tensor) -> Tensor:
        """RGB pictures [B,3,H,W] from pictures in the convention: ``x_c = (std_c * y_c + mean_c) / unit``."""
        x = (y * self.std + self.mean) / self.convention.unit
        return x.flip(1) if self.convention.order == "BGR" else x

    def extra_repr(self) -> str:
        """Name of the convention."""
        return self.convention.name


def check_image(owner: str, image: Tensor, minimum_size: int, needed_by: str) -> None:
    """Raise unless `image` is a floating-point [B,3,H,W] with both sides at least `minimum_size` px.

    Args:
        owner: the function or class that the message names.
        image: the picture.
        minimum_size: px.
        needed_by: layer that needs this size.
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"{owner}: expected image a Tensor, got {type(image).__name__}")
    if image.dim() != 4 or image.shape[1] != 3:
        raise ValueError(f"{owner}: expected image of shape [B,3,H,W], got {list(image.shape)}")
    if not image.is_floating_point():
        raise TypeError(f"{owner}: expected image of a floating dtype in [0,1], got {image.dtype}")
    height, width = image.shape[2:]
    if height < minimum_size or width < minimum_size:
        raise ValueError(f"{owner}: image {height}x{width} is smaller than {minimum_size} px needed by {needed_by}")


def check_padding(owner: str, mode: object) -> str:
    """Return `mode` if it is a padding mode, else raise ValueError."""
    if mode not in PADDING_MODES:
        expected = ", ".join(f'"{known}"' for known in PADDING_MODES)
        raise ValueError(f"{owner}: expected padding {expected}, got {mode!r}")
    return str(mode)
