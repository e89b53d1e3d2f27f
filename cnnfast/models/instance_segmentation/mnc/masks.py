"""Mask branches of a multi-task network cascade: binary masks in the box, or object masks that may leave it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from cnnfast.arguments.checks import check_word
from cnnfast.models.instance_segmentation.mnc.targets import RoITargets, Target, box_mask_targets
from cnnfast.models.instance_segmentation.object_masks.decoding import DECODES
from cnnfast.models.instance_segmentation.object_masks.heads import BinHead
from cnnfast.models.instance_segmentation.object_masks.losses import omn_loss
from cnnfast.models.instance_segmentation.object_masks.targets import omn_targets


@dataclass(frozen=True)
class MaskOutput:
    """The output of a mask branch for n boxes.

    Attributes:
        logits: [n,1,S+2P,S+2P], of the mask on the box grown by P cells.
        bins: [n,1+K,S,S] or [n,K,S,S], logits of the distances; None for binary masks.
    """

    logits: Tensor
    bins: Tensor | None = None

    def of(self, index: Tensor) -> MaskOutput:
        """The output for some of the boxes."""
        return MaskOutput(self.logits[index], None if self.bins is None else self.bins[index])


class MaskBranch(nn.Module, ABC):
    """From the features of boxes to their masks. Subclasses give ``forward``, ``windows`` and ``losses``.

    Attributes:
        size: S, cells a side of the box.
        halo: P, cells on each side around it.
    """

    size: int
    halo: int

    @abstractmethod
    def windows(self, output: MaskOutput, *, final: bool = False) -> Tensor:
        """Masks [n,1,S+2P,S+2P] as float32 in [0,1]: differentiable, or with `final` decoded for the result."""

    @abstractmethod
    def losses(self, output: MaskOutput, rois: RoITargets, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Losses by name, of boxes that all belong to objects."""

    def inner_windows(self, output: MaskOutput) -> Tensor:
        """The masks inside their boxes, [n,1,S,S]."""
        return inside(self.windows(output), self.halo)


def inside(windows: Tensor, halo: int) -> Tensor:
    """The part [n,1,S,S] of windows [n,1,S+2P,S+2P] that is inside the box."""
    end = windows.shape[-1] - halo
    return windows[..., halo:end, halo:end]


class BinaryMaskBranch(MaskBranch):
    """Two fully connected layers from the features of a box to a mask inside it.

    Shape:
        - features: [n,C,H,H].
        - logits: [n,1,S,S].

    Args:
        in_channels: C.
        resolution: H.
        hidden: width of the first layer.
        size: S.

    Source: Dai, He, Sun, CVPR 2016, section 3.2.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.mnc.masks import BinaryMaskBranch
        >>> BinaryMaskBranch(8)(torch.rand(3, 8, 14, 14)).logits.shape
        torch.Size([3, 1, 21, 21])
    """

    halo = 0

    def __init__(self, in_channels: int, resolution: int = 14, hidden: int = 256, size: int = 21) -> None:
        super().__init__()
        self.size = size
        self.fc1 = nn.Linear(in_channels * resolution**2, hidden)
        self.fc2 = nn.Linear(hidden, size**2)
        for layer in (self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> MaskOutput:
        """See the class."""
        logits = self.fc2(F.relu(self.fc1(features.flatten(1))))
        return MaskOutput(logits.view(-1, 1, self.size, self.size))

    def windows(self, output: MaskOutput, *, final: bool = False) -> Tensor:
        """Probabilities."""
        return output.logits.float().sigmoid()

    def losses(self, output: MaskOutput, rois: RoITargets, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Binary cross-entropy, mean over the cells of boxes that all belong to objects."""
        if len(output.logits) == 0:
            return {"loss_mask": 0 * output.logits.sum()}
        truth = box_mask_targets(rois, targets, self.size)
        return {"loss_mask": F.binary_cross_entropy_with_logits(output.logits.float(), truth)}


class ObjectMaskBranch(MaskBranch):
    """An object mask network instead of the mask branch.

    In training its masks are soft, so that they get a gradient from the classes.

    Attributes:
        lambda_mask: weight of the loss of the decoded mask beside that of the bins, see `mask_loss_weight`.

    Args:
        head: the network.
        decode: "soft", "hard" or "max", how masks are decoded for the result.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.3.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation.object_masks.heads import OMNHeadFC
        >>> from cnnfast.models.instance_segmentation.mnc.masks import ObjectMaskBranch
        >>> branch = ObjectMaskBranch(OMNHeadFC(8))
        >>> branch(torch.rand(3, 8, 14, 14)).logits.shape
        torch.Size([3, 1, 35, 35])
    """

    def __init__(self, head: BinHead, decode: str = "soft") -> None:
        super().__init__()
        self.head, self.size, self.halo = head, head.size, head.halo
        check_word("ObjectMaskBranch", "decode", decode, DECODES)
        self.decode = decode
        self.lambda_mask = 0.1

    def forward(self, features: Tensor) -> MaskOutput:
        """See the class."""
        bins = self.head(features)
        return MaskOutput(self.head.mask_logits(bins), bins)

    def windows(self, output: MaskOutput, *, final: bool = False) -> Tensor:
        """Probabilities, or with `final` the bins decoded by `decode`."""
        if not final or self.decode == "soft":
            return output.logits.float().sigmoid()
        assert output.bins is not None
        return self.head.masks(output.bins, self.decode).float()

    def losses(self, output: MaskOutput, rois: RoITargets, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Cross-entropy of bins and mask, see `omn_loss`."""
        assert output.bins is not None
        head = self.head
        truth = omn_targets(
            [target["masks"] for target in targets], rois.boxes, rois.matched, head.R, head.K, head.size
        )
        return omn_loss(output.bins, output.logits, truth, lambda_mask=self.lambda_mask, activation=head.activation)
