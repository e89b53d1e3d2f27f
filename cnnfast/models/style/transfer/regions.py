"""Regions of a picture with styles of their own, and their pixel weights at the resolution of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnfast._errors import InputError
from cnnfast.features.random_filters import RandomFilterFeatures
from cnnfast.features.vgg import ReceptiveField, VGGFeatures, receptive_field

GUIDES = ("simple", "inside", "all")


@dataclass(frozen=True)
class StyleRegions:
    """Which part of the content takes its style from which part of which style picture.

    Attributes:
        content: [R,H,W] in [0,1], a mask for each region, of the content picture's size.
        styles: for every style picture [R,h,w] in [0,1], of its size. A region takes its style from the pictures whose
            mask is not empty, in the proportion of their blends.
        guides: how a mask is brought to the resolution of a layer: "simple", averaged over each position's pixels;
            "inside", the positions whose receptive field lies in the region; "all", those whose receptive field
            overlaps it.

    Source: Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR 2017, section 4.
    """

    content: Tensor
    styles: Sequence[Tensor]
    guides: str = "simple"


def check_regions(
    regions: StyleRegions, content: tuple[int, int], styles: Sequence[tuple[int, int]], device: torch.device
) -> StyleRegions:
    """The regions on a device, without those that are empty in the content.

    Args:
        regions: as the caller gave them.
        content: (height, width) of the content picture.
        styles: (height, width) of every style picture.
        device: where the masks shall be.

    Raises:
        ValueError: masks of a wrong shape or range, numbers that do not fit, a region without any style, or no region
            left.
        TypeError: a mask that is not a floating-point tensor.
    """
    if regions.guides not in GUIDES:
        raise ValueError(f"stylize: expected guides {', '.join(GUIDES)}, got {regions.guides!r}")
    if len(regions.styles) != len(styles):
        raise ValueError(f"stylize: expected style masks for {len(styles)} style pictures, got {len(regions.styles)}")
    content_masks = _check_masks("content", regions.content, content)
    style_masks = [_check_masks("style", m, size) for m, size in zip(regions.styles, styles, strict=True)]
    count = content_masks.shape[0]
    for masks in style_masks:
        if masks.shape[0] != count:
            raise ValueError(f"stylize: expected style masks of {count} regions as in the content, got {len(masks)}")
    there = content_masks.amax((1, 2)) > 0
    if not bool(there.any()):
        raise InputError("stylize: expected a content mask that is not empty, got only empty ones")
    found = torch.stack([masks.amax((1, 2)) > 0 for masks in style_masks]).any(0)
    for index in range(count):
        if there[index] and not found[index]:
            raise InputError(f"stylize: expected every region in a style mask, but region {index + 1} is empty in it")
    return StyleRegions(
        content_masks[there].to(device), [masks[there].to(device) for masks in style_masks], regions.guides
    )


def _check_masks(whose: str, masks: object, size: tuple[int, int]) -> Tensor:
    if not isinstance(masks, Tensor) or not (masks.is_floating_point() or masks.dtype == torch.bool):
        got = masks.dtype if isinstance(masks, Tensor) else type(masks).__name__
        raise TypeError(f"stylize: expected {whose} masks as a floating-point tensor [R,H,W], got {got}")
    if masks.dim() != 3 or masks.shape[0] < 1 or tuple(masks.shape[1:]) != tuple(size):
        raise ValueError(
            f"stylize: expected {whose} masks [R,{size[0]},{size[1]}] of the {whose} picture's size, "
            f"got {list(masks.shape)}"
        )
    masks = masks.float()
    if not bool(((masks >= 0) & (masks <= 1)).all()):
        raise ValueError(f"stylize: expected {whose} masks with values in [0,1], got others")
    return masks


class Guides:
    r"""Pixel weights of every layer for R masks of a picture.

    Called with a layer and the (height, width) of its map, an instance returns [1,R,height,width]: the squares of the
    guides T_r, so that a weighted Gram matrix is :math:`\sum_k T_{rk}^2 F_k F_k^T / \sum_k T_{rk}^2`.

    Args:
        masks: [R,H,W] in [0,1].
        kind: "simple", "inside" or "all", see :class:`StyleRegions`.
        network: the network with the layers.

    Raises:
        ValueError: "inside" or "all" with a network whose receptive fields are unknown.

    Example:
        >>> import torch
        >>> from cnnfast.features.random_filters import RandomFilterFeatures
        >>> from cnnfast.models.style.transfer.regions import Guides
        >>> left = (torch.arange(6) < 3).float().expand(1, 6, 6)
        >>> guides = Guides(left, "inside", RandomFilterFeatures(2, (3,)))
        >>> guides("random", (6, 6))[0, 0, 0]
        tensor([1., 1., 0., 0., 0., 0.])
    """

    def __init__(self, masks: Tensor, kind: str, network: nn.Module) -> None:
        if kind != "simple" and not isinstance(network, (VGGFeatures, RandomFilterFeatures)):
            raise ValueError(f"stylize: expected guides 'simple' for a network of one's own, got {kind!r}")
        self._masks, self._kind, self._network = masks, kind, network
        self._known: dict[tuple[str, tuple[int, int]], Tensor] = {}
        self._kept: dict[str, Tensor] = {}

    def restrict(self, layer: str, kept: Tensor) -> None:
        """Leave out regions of a layer: those where kept [R] is False."""
        self._kept[layer] = kept
        self._known = {key: value for key, value in self._known.items() if key[0] != layer}

    def __call__(self, layer: str, size: tuple[int, int]) -> Tensor:
        """Pixel weights [1,R,h,w] for a layer's map of (h, w) positions."""
        key = layer, size
        if key not in self._known:
            guides = self._guides(layer, size).square()
            self._known[key] = guides[self._kept[layer]][None] if layer in self._kept else guides[None]
        return self._known[key]

    def _guides(self, layer: str, size: tuple[int, int]) -> Tensor:
        if self._kind == "simple":
            return functional.adaptive_avg_pool2d(self._masks, size)
        field = self._field(layer)
        if self._kind == "all":
            return _seen(self._masks, field)
        return 1 - _seen(1 - self._masks, field)

    def _field(self, layer: str) -> ReceptiveField:
        if isinstance(self._network, RandomFilterFeatures):
            return ReceptiveField(2 * self._network.halo + 1, 1)
        assert isinstance(self._network, VGGFeatures)
        return receptive_field(self._network.arch, layer)


def _seen(masks: Tensor, field: ReceptiveField) -> Tensor:
    """The largest value of masks [R,H,W] in each position's receptive field, which ends at the picture's edges."""
    margin = (field.size - field.stride) // 2
    padded = functional.pad(masks, (margin, margin, margin, margin))
    rows = functional.max_pool2d(padded, (field.size, 1), (field.stride, 1))
    return functional.max_pool2d(rows, (1, field.size), (1, field.stride))
