"""RoI warping: features of a box that are differentiable in the box."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def roi_warp(features: Tensor, boxes: Sequence[Tensor], output_size: int, spatial_scale: float) -> Tensor:
    r"""Sample each box bilinearly at the centres of S x S bins.

    .. math::
        y_{ij} = f\big(s\,(x_0 + (j + 1/2)(x_1 - x_0) / S) - 1/2,\; s\,(y_0 + (i + 1/2)(y_1 - y_0) / S) - 1/2\big)

    with the scale s of the features f; outside, the features are padded with their border. Inside, it is RoIAlign with
    aligned coordinates and one sample a bin, but it also has a gradient in the boxes.

    Args:
        features: [B,C,H,W].
        boxes: B tensors [n_b,4] of (x0,y0,x1,y1) in pixels of the picture.
        output_size: S.
        spatial_scale: s, pixels of the features per pixel of the picture.

    Returns:
        [n,C,S,S], the boxes of all pictures one after the other.

    Raises:
        ValueError: boxes of another shape, or for another number of pictures.

    Source: Dai, He, Sun, "Instance-aware Semantic Segmentation via Multi-task Network Cascades", CVPR 2016, section
        3.3; written with the affine grids of Jaderberg et al., "Spatial Transformer Networks", NIPS 2015.

    Example:
        >>> import torch
        >>> from cnnfast.detection.roi_warp import roi_warp
        >>> ramp = torch.arange(8.0).expand(1, 1, 8, 8)
        >>> roi_warp(ramp, [torch.tensor([[1.0, 1.0, 5.0, 5.0]])], 2, 1.0)[0, 0]
        tensor([[1.5000, 3.5000],
                [1.5000, 3.5000]])
    """
    if len(boxes) != len(features):
        raise ValueError(f"roi_warp: expected boxes for {len(features)} pictures, got {len(boxes)}")
    for part in boxes:
        if part.dim() != 2 or part.shape[1] != 4:
            raise ValueError(f"roi_warp: expected boxes of shape [n,4], got {list(part.shape)}")
    return torch.cat(
        [_warp_one(picture, part, output_size, spatial_scale) for picture, part in zip(features, boxes, strict=True)]
    )


def _warp_one(features: Tensor, boxes: Tensor, size: int, scale: float) -> Tensor:
    channels, height, width = features.shape
    if len(boxes) == 0:
        return features.new_zeros(0, channels, size, size)
    # Half types are too coarse for coordinates.
    compute = torch.promote_types(features.dtype, boxes.dtype)
    # Grids run over [-1,1] from edge to edge: picture coordinate X is at 2 s X / W - 1.
    extent = torch.tensor([width, height], dtype=boxes.dtype, device=boxes.device) / scale
    low, high = boxes[:, :2] / extent, boxes[:, 2:] / extent
    theta = torch.diag_embed(high - low)
    theta = torch.cat([theta, (low + high - 1)[:, :, None]], 2).to(compute)
    grid = F.affine_grid(theta, [len(boxes), 1, size, size], align_corners=False)
    # One tall grid for all boxes, so that the features are not copied, and their gradient not stored, for each box.
    grid = grid.reshape(1, len(boxes) * size, size, 2)
    samples = F.grid_sample(features[None].to(compute), grid, padding_mode="border", align_corners=False)
    return samples.view(channels, len(boxes), size, size).transpose(0, 1).to(features.dtype)


class RoIWarp(nn.Module):
    """RoI warping to twice the output size and 2x2 max pooling, as in multi-task network cascades.

    Shape:
        - features: [B,C,H,W].
        - boxes: B tensors [n_b,4], in pixels of the picture.
        - output: [n,C,S,S].

    Args:
        output_size: S.
        spatial_scale: pixels of the features per pixel of the picture.

    Source: Dai, He, Sun, CVPR 2016, section 3.3.

    Example:
        >>> import torch
        >>> from cnnfast.detection.roi_warp import RoIWarp
        >>> boxes = torch.tensor([[8.0, 8.0, 60.0, 40.0]], requires_grad=True)
        >>> RoIWarp(14, 1 / 16)(torch.rand(1, 5, 4, 4), [boxes]).sum().backward()
        >>> boxes.grad.shape
        torch.Size([1, 4])
    """

    def __init__(self, output_size: int, spatial_scale: float) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale

    def forward(self, features: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """See the class."""
        return F.max_pool2d(roi_warp(features, boxes, 2 * self.output_size, self.spatial_scale), 2)

    def extra_repr(self) -> str:
        """Size and scale."""
        return f"{self.output_size}, spatial_scale={self.spatial_scale:g}"
