"""Anchor boxes of region proposal networks."""

from __future__ import annotations

from torchvision.models.detection.anchor_utils import AnchorGenerator

_RATIOS = (0.5, 1.0, 2.0)


def single_map_anchors() -> AnchorGenerator:
    """Nine anchors: scales 128, 256 and 512 px, ratios 1:2, 1:1 and 2:1."""
    return AnchorGenerator(((128, 256, 512),), (_RATIOS,))


def pyramid_anchors() -> AnchorGenerator:
    """Three anchors for each of five levels: scales 32 to 512 px, ratios 1:2, 1:1 and 2:1."""
    return AnchorGenerator(tuple((size,) for size in (32, 64, 128, 256, 512)), (_RATIOS,) * 5)


def small_anchors() -> AnchorGenerator:
    """Three anchors for each of the three levels of `SmallBackbone`: 16, 32 and 64 px, ratios 1:2, 1:1 and 2:1."""
    return AnchorGenerator(((16,), (32,), (64,)), (_RATIOS,) * 3)
