"""Object mask networks: from the features of boxes to bins of distances, and from those to masks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads

from cnnfast.arguments.checks import check_floating, check_word
from cnnfast.layers.distance import InverseDistanceTransform
from cnnfast.models.instance_segmentation.object_masks.checks import check_bins, check_grid
from cnnfast.models.instance_segmentation.object_masks.decoding import ACTIVATIONS, decode_bins, mask_logits_of_bins
from cnnfast.models.instance_segmentation.object_masks.targets import max_radius

# Initial probability of the background in every cell.
_BACKGROUND = 0.9


class BinHead(nn.Module):
    """What object mask networks share: K bins of S x S cells and the decoder of the mask. Subclasses give ``forward``.

    Attributes:
        R: distance in cells at which the bins end.
        K: bins.
        size: S, cells a side of the box.
        halo: P, cells on each side around it in the decoded mask.
        activation: "softmax" (K + 1 channels, the background's first) or "sigmoid" (K).
        channels: of the logits.
        decoder: fixed discs with a weight a bin and a bias.
    """

    def __init__(self, R: int, K: int, size: int, activation: str, learn_weight: bool) -> None:
        super().__init__()
        owner = type(self).__name__
        check_bins(owner, R, K)
        check_grid(owner, size)
        check_word(owner, "activation", activation, ACTIVATIONS)
        self.activation = activation
        self.R, self.K, self.size, self.halo = R, K, size, max_radius(R, K)
        self.channels = K + (activation == "softmax")
        self.decoder = InverseDistanceTransform(K, R, learn_weight=learn_weight)

    def mask_logits(self, bin_logits: Tensor) -> Tensor:
        """Logits [n,1,S+2P,S+2P] of the soft masks, differentiable, float32 for half types."""
        return mask_logits_of_bins(bin_logits, self.decoder, self.activation)

    def masks(self, bin_logits: Tensor, decode: str = "soft") -> Tensor:
        """Masks [n,1,S+2P,S+2P] in [0,1] of windows, see `decode_bins`."""
        return decode_bins(bin_logits, self.decoder, decode, self.activation)

    def _bin_bias(self) -> Tensor:
        """Bias [channels] of the logits for which the background has its initial probability."""
        if self.activation == "softmax":
            return torch.tensor([math.log(_BACKGROUND / (1 - _BACKGROUND) * self.K)] + [0.0] * self.K)
        share = (1 - _BACKGROUND) / self.K
        return torch.full((self.K,), math.log(share / (1 - share)))

    def extra_repr(self) -> str:
        """Bins and grid."""
        return f"R={self.R}, K={self.K}, size={self.size}, halo={self.halo}, activation={self.activation!r}"


class OMNHead(BinHead):
    """Convolutional object mask network, of the form of Mask R-CNN's mask branch.

    Convolutions 3x3 with ReLUs, a transposed convolution that doubles the grid, ReLU, and a 1x1 convolution to bins.
    A decoder with fixed discs then makes the mask, which may leave the box by P = floor((K - 1) R / K) cells.

    Shape:
        - features: [n,C,H,H].
        - output: logits of bins [n,K+1,S,S] with S = 2 H; [n,K,S,S] with "sigmoid".

    Args:
        in_channels: C.
        R: distance in cells at which the bins end.
        K: bins, at most R.
        roi_size: H.
        trunk_channels: of the 3x3 convolutions.
        upsampled_channels: of the transposed convolution.
        num_classes: with the background; bins of their own for each class. None: the same for all classes.
        activation: "softmax" over background and bins, or "sigmoid" for K independent maps, as in the paper.
        learn_weight: train the weights of the decoder and its bias.

    Raises:
        ValueError: K > R, an unknown word, features of another shape, or labels that do not fit.
        TypeError: an argument of another kind.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.2; He et al., "Mask
        R-CNN", ICCV 2017, figure 4, for the convolutions.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation import OMNHead
        >>> head = OMNHead(16, trunk_channels=(16, 16), upsampled_channels=8)
        >>> bins = head(torch.rand(3, 16, 14, 14))
        >>> bins.shape, head.masks(bins).shape
        (torch.Size([3, 6, 28, 28]), torch.Size([3, 1, 42, 42]))
    """

    def __init__(
        self,
        in_channels: int = 256,
        R: int = 9,
        K: int = 5,
        *,
        roi_size: int = 14,
        trunk_channels: Sequence[int] = (256, 256, 256, 256),
        upsampled_channels: int = 256,
        num_classes: int | None = None,
        activation: str = "softmax",
        learn_weight: bool = True,
    ) -> None:
        super().__init__(R, K, 2 * roi_size, activation, learn_weight)
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"OMNHead: expected num_classes of at least 2, background and a class, got {num_classes}")
        self.num_classes = num_classes
        self.trunk: nn.Module = MaskRCNNHeads(in_channels, trunk_channels, dilation=1)
        last = trunk_channels[-1] if trunk_channels else in_channels
        self.upsample = nn.ConvTranspose2d(last, upsampled_channels, 2, stride=2)
        nn.init.kaiming_normal_(self.upsample.weight, mode="fan_out", nonlinearity="relu")
        self.bins = nn.Conv2d(upsampled_channels, self.channels * (num_classes or 1), 1)
        nn.init.normal_(self.bins.weight, std=0.01)
        with torch.no_grad():
            assert self.bins.bias is not None
            self.bins.bias.copy_(self._bin_bias().repeat(num_classes or 1))

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits of bins.

        Args:
            features: [n,C,H,H].
            labels: [n] int64, classes whose bins are wanted, for a head with classes; others ignore them.
        """
        _check_features("OMNHead", features, self.size // 2)
        logits = self.bins(self.upsample(self.trunk(features)).relu())
        if self.num_classes is None:
            return logits
        _check_labels(labels, len(features), self.num_classes)
        assert labels is not None
        by_class = logits.unflatten(1, (self.num_classes, self.channels))
        return by_class[torch.arange(len(labels), device=labels.device), labels]


class OMNHeadFC(BinHead):
    """Fully connected object mask network, of the form of the mask branch of multi-task network cascades.

    Shape:
        - features: [n,C,H,H].
        - output: logits of bins [n,K,S,S]; [n,K+1,S,S] with "softmax".

    Args:
        in_channels: C.
        R: distance in cells at which the bins end.
        K: bins, at most R.
        roi_size: H.
        size: S.
        hidden: width of the first layer.
        activation: "sigmoid" for K independent maps, as in the paper, or "softmax" over background and bins.
        learn_weight: train the weights of the decoder and its bias.
        std: of the initial weights.

    Raises:
        ValueError: K > R, an unknown word, or features of another shape.
        TypeError: an argument of another kind.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.2; Dai, He, Sun,
        "Instance-aware Semantic Segmentation via Multi-task Network Cascades", CVPR 2016, section 3.2, for the layers.

    Example:
        >>> import torch
        >>> from cnnfast.models.instance_segmentation import OMNHeadFC
        >>> head = OMNHeadFC(8, hidden=32)
        >>> bins = head(torch.rand(3, 8, 14, 14))
        >>> bins.shape, head.masks(bins).shape
        (torch.Size([3, 5, 21, 21]), torch.Size([3, 1, 35, 35]))
    """

    def __init__(
        self,
        in_channels: int = 512,
        R: int = 9,
        K: int = 5,
        *,
        roi_size: int = 14,
        size: int = 21,
        hidden: int = 256,
        activation: str = "sigmoid",
        learn_weight: bool = True,
        std: float = 0.001,
    ) -> None:
        super().__init__(R, K, size, activation, learn_weight)
        self.roi_size = roi_size
        self.fc1 = nn.Linear(in_channels * roi_size**2, hidden)
        self.fc2 = nn.Linear(hidden, self.channels * size**2)
        for layer in (self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.fc2.bias.copy_(self._bin_bias().repeat_interleave(size**2))

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits of bins; labels are ignored."""
        _check_features("OMNHeadFC", features, self.roi_size)
        logits = self.fc2(self.fc1(features.flatten(1)).relu())
        return logits.view(-1, self.channels, self.size, self.size)


def _check_labels(labels: Tensor | None, count: int, num_classes: int) -> None:
    if labels is None or labels.shape != (count,):
        got = None if labels is None else list(labels.shape)
        raise ValueError(f"OMNHead: expected labels of shape [{count}] for a head with classes, got {got}")
    if count and (labels.min() < 0 or labels.max() >= num_classes):
        low, high = int(labels.min()), int(labels.max())
        raise ValueError(f"OMNHead: expected labels in 0..{num_classes - 1}, got {low}..{high}")


def _check_features(owner: str, features: Tensor, side: int) -> None:
    check_floating(owner, features, "features")
    if features.dim() != 4 or features.shape[2:] != (side, side):
        raise ValueError(f"{owner}: expected features of shape [n,C,{side},{side}], got {list(features.shape)}")
