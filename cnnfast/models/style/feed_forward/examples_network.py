"""The feed-forward style network of the PyTorch examples.

Johnson, Alahi, Fei-Fei, Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016, with instance
norms (Ulyanov et al. 2016) and upsampling followed by convolution against checkerboards (Odena et al., Distill 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cnnfast.features.preprocessing import InputConvention, check_image
from cnnfast.models.style.feed_forward.blocks import ConvLayer, InstanceNorm, Stage, run_stages
from cnnfast.weights import Preprocessing

CHANNELS = (32, 64, 128)
"""Widths of the published network at full, half and quarter resolution."""

_RESIDUAL_BLOCKS = 5
_UNIT_255 = Preprocessing("unit 255", "RGB", 255.0, (0.0, 0.0, 0.0))


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norms, added to their input."""

    def __init__(self, channels: int, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.conv1 = ConvLayer(channels, channels, 3, device=device, dtype=dtype)
        self.in1 = InstanceNorm(channels, device=device, dtype=dtype)
        self.conv2 = ConvLayer(channels, channels, 3, device=device, dtype=dtype)
        self.in2 = InstanceNorm(channels, device=device, dtype=dtype)

    def stages(self) -> list[Stage]:
        return [Stage(self.conv1, self.in1, relu=True, opens=True), Stage(self.conv2, self.in2, closes=True)]


class TransformerNet(nn.Module):
    """Image transformation network of ``fast_neural_style`` in the PyTorch examples, compatible with its state dicts.

    A convolutional network without attention, which transforms pictures: a 9x9 convolution, two of stride 2, five
    residual blocks, two 3x3 convolutions after upsampling by 2, and a 9x9 one. All have reflection padding and, but for
    the last, an instance norm and a ReLU. Input and output are RGB in 0..255, and the output is not clipped to that
    range; `preprocess` and `postprocess` convert from and to [0,1].

    Shape:
        - x: [B,3,H,W], RGB in 0..255, sides of at least 5 px.
        - result: [B,3,H',W'], both sides rounded up to multiples of 4.

    Args:
        channels: widths at full, half and quarter resolution.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: channels that are not three positive numbers, or a picture that is too small.
        TypeError: a picture that is no floating-point tensor.

    Source: Johnson, Alahi, Fei-Fei, ECCV 2016.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.feed_forward.examples_network import TransformerNet
        >>> network = TransformerNet(channels=(4, 6, 8))
        >>> network(torch.rand(1, 3, 21, 26) * 255).shape
        torch.Size([1, 3, 24, 28])
    """

    kind = "transformer"
    multiple = 4
    minimum_size = 5

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        if len(self.channels) != 3 or not all(isinstance(c, int) and c >= 1 for c in self.channels):
            raise ValueError(f"TransformerNet: expected channels as three positive numbers, got {channels!r}")
        full, half, quarter = self.channels

        def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, upsample: int = 1) -> ConvLayer:
            return ConvLayer(inputs, outputs, kernel, stride, upsample=upsample, device=device, dtype=dtype)

        def norm(width: int) -> InstanceNorm:
            return InstanceNorm(width, device=device, dtype=dtype)

        self.conv1, self.in1 = conv(3, full, 9), norm(full)
        self.conv2, self.in2 = conv(full, half, 3, stride=2), norm(half)
        self.conv3, self.in3 = conv(half, quarter, 3, stride=2), norm(quarter)
        for index in range(1, _RESIDUAL_BLOCKS + 1):
            setattr(self, f"res{index}", _ResidualBlock(quarter, device, dtype))
        self.deconv1, self.in4 = conv(quarter, half, 3, upsample=2), norm(half)
        self.deconv2, self.in5 = conv(half, full, 3, upsample=2), norm(full)
        self.deconv3 = conv(full, 3, 9)
        self.convention = InputConvention(_UNIT_255, device=device, dtype=dtype or torch.get_default_dtype())

    def stages(self) -> list[Stage]:
        """The network as a list of steps."""
        blocks: list[_ResidualBlock] = [getattr(self, f"res{index}") for index in range(1, _RESIDUAL_BLOCKS + 1)]
        return [
            Stage(self.conv1, self.in1, relu=True),
            Stage(self.conv2, self.in2, relu=True),
            Stage(self.conv3, self.in3, relu=True),
            *(stage for block in blocks for stage in block.stages()),
            Stage(self.deconv1, self.in4, relu=True),
            Stage(self.deconv2, self.in5, relu=True),
            Stage(self.deconv3),
        ]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        check_image("TransformerNet", x, self.minimum_size, "its reflected borders")
        return self.finish(run_stages(self.stages(), x))

    def finish(self, output: Tensor) -> Tensor:
        """The steps after the last stage: none."""
        return output

    def preprocess(self, image: Tensor) -> Tensor:
        """RGB in [0,1] to the network's input."""
        return self.convention(image)

    def postprocess(self, output: Tensor) -> Tensor:
        """The network's output to RGB, nominally in [0,1]."""
        return self.convention.inverse(output)

    def options(self) -> dict[str, object]:
        """The constructor's arguments for a network of the same architecture."""
        return {"channels": list(self.channels)}


def transformer_channels(shapes: Mapping[str, Sequence[int]]) -> tuple[int, int, int] | None:
    """Widths of a `TransformerNet` from the shapes in a state dict, or None for a state dict of another network.

    Example:
        >>> from cnnfast.models.style.feed_forward.examples_network import TransformerNet, transformer_channels
        >>> state = TransformerNet(channels=(4, 6, 8)).state_dict()
        >>> transformer_channels({name: tensor.shape for name, tensor in state.items()})
        (4, 6, 8)
    """
    widths = [shapes.get(f"conv{index}.conv2d.weight", ())[:1] for index in (1, 2, 3)]
    if not all(widths):
        return None
    full, half, quarter = (int(width[0]) for width in widths)
    return full, half, quarter
