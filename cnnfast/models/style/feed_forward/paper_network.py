"""The feed-forward style network of Johnson, Alahi and Fei-Fei (ECCV 2016), built from an architecture string."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnnfast.features.preprocessing import InputConvention, check_image
from cnnfast.models.style.feed_forward.blocks import (
    ConvLayer,
    Extend,
    InstanceNorm,
    RowMap,
    Stage,
    TransposedConv,
    run_stages,
)
from cnnfast.weights import PREPROCESSINGS

ARCH = "c9s1-32,d64,d128,R128x5,u64,u32,c9s1-3"
"""The network of the paper."""

UPSAMPLING_ARCH = "c9s1-32,d64,d128,R128x5,U2,c3s1-64,U2,c9s1-3"
"""The same with upsampling instead of transposed convolutions, which leave checkerboards."""

_PADDINGS = ("reflect-start", "none", "zeros", "reflect", "replicate")
_WORD = re.compile(
    r"c(?P<c>[13579])s(?P<s>[12])-(?P<cn>\d+)|d(?P<d>\d+)|R(?P<r>\d+)(x(?P<n>\d+))?|u(?P<u>\d+)|U(?P<f>\d)"
)


class _Step(NamedTuple):
    """One step of an architecture string: kind "c", "d", "R", "u" or "U", and its numbers."""

    kind: str
    channels: int
    kernel: int = 3
    stride: int = 1


def parse_arch(arch: str) -> list[_Step]:
    """The steps of an architecture string.

    Words, separated by commas: ``c9s1-32`` is a 9x9 convolution of stride 1 to 32 channels, ``d64`` a 3x3 one of stride
    2, ``R128`` a residual block (``R128x5``: five of them), ``u64`` a transposed convolution of stride 2, and ``U2``
    upsampling by 2.

    Raises:
        ValueError: a word that is none of these, a residual block of another width, or an output without 3 channels.

    Example:
        >>> from cnnfast.models.style.feed_forward.paper_network import parse_arch
        >>> [step.kind for step in parse_arch("c9s1-8,d16,R16x2,u8,c9s1-3")]
        ['c', 'd', 'R', 'R', 'u', 'c']
    """
    steps: list[_Step] = []
    channels = 3
    for word in arch.split(","):
        match = _WORD.fullmatch(word.strip())
        if match is None:
            raise ValueError(f"JohnsonNet: expected words like c9s1-32, d64, R128x5, u64 or U2 in arch, got {word!r}")
        if match["c"]:
            steps.append(_Step("c", int(match["cn"]), int(match["c"]), int(match["s"])))
        elif match["d"]:
            steps.append(_Step("d", int(match["d"]), stride=2))
        elif match["r"]:
            if int(match["r"]) != channels:
                raise ValueError(f"JohnsonNet: expected a residual block of {channels} channels in arch, got {word!r}")
            steps.extend([_Step("R", channels)] * int(match["n"] or 1))
        elif match["u"]:
            steps.append(_Step("u", int(match["u"]), stride=2))
        else:
            steps.append(_Step("U", channels, stride=int(match["f"])))
        if steps and min(steps[-1].channels, steps[-1].stride) < 1:
            raise ValueError(f"JohnsonNet: expected numbers of at least 1 in arch, got {word!r}")
        channels = steps[-1].channels if steps else channels
    if channels != 3 or steps[-1].kind not in "cu":
        raise ValueError(f"JohnsonNet: expected an arch that ends in a convolution to 3 channels, got {arch!r}")
    return steps


class JohnsonNet(nn.Module):
    r"""Image transformation network of the paper and of its authors' ``fast-neural-style``.

    Every step but the last and the residual blocks is followed by a norm and a ReLU, the last by
    :math:`c \tanh`. Residual blocks have two 3x3 convolutions, norm and ReLU after the first, norm after the second,
    and no ReLU after the sum. Pictures are BGR in 0..255 minus the mean (103.939, 116.779, 123.68) on both sides;
    `preprocess` and `postprocess` convert from and to RGB in [0,1].

    Shape:
        - x: [B,3,H,W], sides of at least `minimum_size` px.
        - result: [B,3,H,W] for sides that are multiples of `multiple`; with padding "none" smaller by ``2 * margin``.

    Args:
        norm: "instance" or "batch". A network with batch norms, the paper's, must be in evaluation mode to be applied.
        padding: "reflect-start" (residual blocks without padding; the picture is padded by reflection by as much as
            they crop), "none" (the same without the reflection), "zeros", "reflect" or "replicate" in all convolutions.
            Strided and transposed convolutions always, and others with "reflect-start" and "none", pad with zeros.
        tanh_constant: c.
        arch: architecture string, see :func:`parse_arch`.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: an unknown option, a malformed arch, or a picture that is too small.
        TypeError: a picture that is no floating-point tensor.

    Source: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016,
        section 3.1 and supplement.

    Example:
        >>> import torch
        >>> from cnnfast.models.style.feed_forward.paper_network import JohnsonNet
        >>> network = JohnsonNet("instance", arch="c9s1-4,d6,R6x2,u4,c9s1-3")
        >>> network(torch.randn(1, 3, 32, 48)).shape
        torch.Size([1, 3, 32, 48])
    """

    kind = "johnson"

    def __init__(
        self,
        norm: str = "batch",
        padding: str = "reflect-start",
        tanh_constant: float = 150.0,
        arch: str = ARCH,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if norm not in ("batch", "instance"):
            raise ValueError(f'JohnsonNet: expected norm "batch" or "instance", got {norm!r}')
        if padding not in _PADDINGS:
            raise ValueError(f"JohnsonNet: expected padding {', '.join(_PADDINGS)}, got {padding!r}")
        if not (math.isfinite(tanh_constant) and tanh_constant > 0):
            raise ValueError(f"JohnsonNet: expected a positive tanh_constant, got {tanh_constant!r}")
        self.norm, self.padding, self.tanh_constant, self.arch = norm, padding, float(tanh_constant), arch
        self._factory = {"device": device, "dtype": dtype}
        self._steps = parse_arch(arch)
        self.maps, self.norms = nn.ModuleList(), nn.ModuleList()
        channels = 3
        for index, step in enumerate(self._steps):
            for part in self._maps(step, channels):
                self.maps.append(part)
                last = index == len(self._steps) - 1
                self.norms.append(nn.Identity() if last else self._norm(step.channels))
            channels = step.channels
        self.start = Extend(self.margin, "reflect") if padding == "reflect-start" else Extend()
        self.convention = InputConvention(
            PREPROCESSINGS["caffe"], device=device, dtype=dtype or torch.get_default_dtype()
        )

    def _maps(self, step: _Step, channels: int) -> list[RowMap]:
        everywhere = self.padding if self.padding in ("zeros", "reflect", "replicate") else "zeros"
        factory = self._factory
        if step.kind == "c":
            return [ConvLayer(channels, step.channels, step.kernel, step.stride, mode=everywhere, **factory)]  # type: ignore[arg-type]
        if step.kind == "d":
            return [ConvLayer(channels, step.channels, 3, 2, mode="zeros", **factory)]  # type: ignore[arg-type]
        if step.kind == "R":
            inside = everywhere if self._padded_blocks else "none"
            return [ConvLayer(channels, channels, 3, mode=inside, **factory) for _ in range(2)]  # type: ignore[arg-type]
        if step.kind == "u":
            return [TransposedConv(channels, step.channels, **factory)]  # type: ignore[arg-type]
        return [Extend(upsample=step.stride)]

    def _norm(self, channels: int) -> nn.Module:
        if self.norm == "batch":
            return nn.BatchNorm2d(channels, **self._factory)  # type: ignore[arg-type]
        return InstanceNorm(channels, **self._factory)  # type: ignore[arg-type]

    @property
    def _padded_blocks(self) -> bool:
        return self.padding not in ("reflect-start", "none")

    def _reductions(self) -> list[int]:
        """Downsampling factor of the input of each step."""
        reductions, present = [], 1
        for step in self._steps:
            reductions.append(present)
            if step.kind in "cd":
                present *= step.stride
            elif step.kind in "uU":
                present = max(1, present // step.stride)
        return reductions

    @property
    def multiple(self) -> int:
        """Sides that are multiples of this many px are not rounded."""
        return max(self._reductions())

    @property
    def margin(self) -> int:
        """Px that residual blocks without padding crop on every side."""
        if self._padded_blocks:
            return 0
        pairs = zip(self._steps, self._reductions(), strict=True)
        return sum(2 * reduction for step, reduction in pairs if step.kind == "R")

    @property
    def minimum_size(self) -> int:
        """Smallest side of a picture in px."""
        if self.padding == "none":
            return 2 * self.margin + 2 * self.multiple
        kernels = [
            step.kernel // 2 * reduction for step, reduction in zip(self._steps, self._reductions(), strict=True)
        ]
        return max(self.margin, *kernels, self.multiple) + 1

    def stages(self) -> list[Stage]:
        """The network as a list of steps, without the tanh."""
        stages = [Stage(self.start)] if self.start.padding else []
        maps, norms = iter(self.maps), iter(self.norms)
        crop = 0 if self._padded_blocks else 2
        for index, step in enumerate(self._steps):
            first: RowMap = next(maps)  # type: ignore[assignment]
            norm: nn.Module | None = next(norms)
            if step.kind == "R":
                second: RowMap = next(maps)  # type: ignore[assignment]
                stages += [Stage(first, norm, True, opens=True), Stage(second, next(norms), closes=True, crop=crop)]
            else:
                last = index == len(self._steps) - 1
                stages.append(Stage(first) if last else Stage(first, norm, relu=True))
        return stages

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        check_image("JohnsonNet", x, self.minimum_size, "its borders")
        return self.finish(run_stages(self.stages(), x))

    def finish(self, output: Tensor) -> Tensor:
        """The steps after the last stage, pixel by pixel."""
        return self.tanh_constant * output.tanh()

    def preprocess(self, image: Tensor) -> Tensor:
        """RGB in [0,1] to the network's input."""
        return self.convention(image)

    def postprocess(self, output: Tensor) -> Tensor:
        """The network's output to RGB, nominally in [0,1]."""
        return self.convention.inverse(output)

    def options(self) -> dict[str, object]:
        """The constructor's arguments for a network of the same architecture."""
        return {"norm": self.norm, "padding": self.padding, "tanh_constant": self.tanh_constant, "arch": self.arch}
