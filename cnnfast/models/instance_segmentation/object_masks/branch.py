"""The mask branch of a detector with an object mask network: from maps of features and boxes to losses or windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnnfast.arguments.checks import check_word, number_from_zero, whole_number
from cnnfast.models.instance_segmentation.object_masks.decoding import DECODES
from cnnfast.models.instance_segmentation.object_masks.heads import BinHead
from cnnfast.models.instance_segmentation.object_masks.losses import omn_loss
from cnnfast.models.instance_segmentation.object_masks.targets import omn_targets
from cnnfast.models.instance_segmentation.object_masks.windows import IMAGE_EDGES, paste_windows, window_boxes


class MatchedBoxes(NamedTuple):
    """Boxes of pictures, each with its object.

    Attributes:
        boxes: by picture, [n,4].
        matched: by picture, [n] int64, index of the object.
        labels: by picture, [n] int64, class of the object, or None for heads without classes.
    """

    boxes: Sequence[Tensor]
    matched: Sequence[Tensor]
    labels: Sequence[Tensor] | None = None


class OMNBranch(nn.Module):
    """Features of boxes, an object mask network, its losses and its masks.

    Shape:
        - features: maps [B,C,H_l,W_l] by name.
        - boxes: B tensors [n_b,4] in pixels of the resized picture.
        - windows: B tensors [n_b,1,S+2P,S+2P] in [0,1].

    Attributes:
        lambda_bin: weight of the loss of the bins.
        lambda_mask: weight of the loss of the decoded mask; training may change it, see `mask_loss_weight`. With 0 the
            mask is not decoded in training, and there is no "loss_mask".

    Args:
        roi_pool: torchvision's MultiScaleRoIAlign, or any module with its arguments.
        head: the network.
        decode: "soft", "hard" or "max", see `decode_bins`.
        context: cells by which a box first grows on every side.
        image_edge: "open" or "closed", see `sample_windows`.
        lambda_bin: see above.
        lambda_mask: see above.

    Raises:
        ValueError: an unknown word, or a number that is negative.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.

    Example:
        >>> import torch
        >>> from torchvision.ops import MultiScaleRoIAlign
        >>> from cnnfast.models.instance_segmentation import OMNHead
        >>> from cnnfast.models.instance_segmentation.object_masks.branch import OMNBranch
        >>> branch = OMNBranch(MultiScaleRoIAlign(["0"], 14, 2), OMNHead(8, trunk_channels=(8,)), decode="hard")
        >>> boxes = [torch.tensor([[4.0, 4.0, 20.0, 30.0]])]
        >>> branch.windows({"0": torch.rand(1, 8, 16, 16)}, boxes, [(64, 64)])[0].shape
        torch.Size([1, 1, 42, 42])
    """

    def __init__(
        self,
        roi_pool: nn.Module,
        head: BinHead,
        *,
        decode: str = "soft",
        context: int = 0,
        image_edge: str = "open",
        lambda_bin: float = 1.0,
        lambda_mask: float = 0.1,
    ) -> None:
        super().__init__()
        check_word("OMNBranch", "decode", decode, DECODES)
        check_word("OMNBranch", "image_edge", image_edge, IMAGE_EDGES)
        number_from_zero("OMNBranch", "lambda_bin", lambda_bin)
        number_from_zero("OMNBranch", "lambda_mask", lambda_mask)
        cells = whole_number(context)
        if cells is None or cells < 0:
            raise ValueError(f"OMNBranch: expected context a number of cells, at least 0, got {context!r}")
        self.roi_pool, self.head = roi_pool, head
        self.decode, self.context, self.image_edge = decode, cells, image_edge
        self.lambda_bin, self.lambda_mask = lambda_bin, lambda_mask

    def losses(
        self,
        features: Mapping[str, Tensor],
        rois: MatchedBoxes,
        image_sizes: Sequence[tuple[int, int]],
        gt_masks: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Losses "loss_mask_bins" and "loss_mask" of boxes that all belong to an object.

        Args:
            features: see the class.
            rois: the boxes.
            image_sizes: by picture, (height, width).
            gt_masks: by picture, [G,H,W] bool or integers.
        """
        head, grown = self.head, self._grown(rois.boxes)
        bins = head(self.roi_pool(features, grown, image_sizes), self._joined(rois.labels))
        logits = head.mask_logits(bins) if self.lambda_mask > 0 else None
        targets = omn_targets(gt_masks, grown, rois.matched, head.R, head.K, head.size, self.image_edge)
        return omn_loss(
            bins,
            logits,
            targets,
            lambda_bin=self.lambda_bin,
            lambda_mask=self.lambda_mask,
            activation=head.activation,
        )

    def windows(
        self,
        features: Mapping[str, Tensor],
        boxes: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        labels: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Masks of the windows of boxes, by picture; `labels` are their classes for heads with classes."""
        bins = self.head(self.roi_pool(features, self._grown(boxes), image_sizes), self._joined(labels))
        return list(self.head.masks(bins, self.decode).split([len(part) for part in boxes]))

    def paste(
        self, windows: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float | None = None
    ) -> Tensor:
        """Masks [n,1,H,W] of a picture from windows and their boxes, see `paste_windows`.

        The boxes may have been resized with the picture.
        """
        grown = window_boxes(boxes, self.head.size, self.context)
        return paste_windows(windows, grown, self.head.size, self.head.halo, image_size, threshold)

    def _grown(self, boxes: Sequence[Tensor]) -> list[Tensor]:
        return [window_boxes(part, self.head.size, self.context) for part in boxes]

    @staticmethod
    def _joined(labels: Sequence[Tensor] | None) -> Tensor | None:
        return None if labels is None else torch.cat(list(labels))

    def extra_repr(self) -> str:
        """Options."""
        return f"decode={self.decode!r}, context={self.context}, image_edge={self.image_edge!r}"
