"""Terms of a loss over a picture, each of one layer, computed from whole feature maps or added up from parts of them.

A term's value is a function of sums over positions: a Gram matrix, a mean, a squared distance. Whole maps go through
the fused losses. For parts, the sums of all parts are added, `of_sums` gives the same value, and the derivative of the
value with respect to the sums is all that a part needs for its own gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cnnfast.layers import ContentLoss, StyleLoss, WassersteinStyleLoss
from cnnfast.layers.style._features import widened
from cnnfast.ops import gram_matrix


class Part(NamedTuple):
    """A part of a layer's feature map, or all of it.

    Attributes:
        features: [1,C,h,w].
        pixel_weight: weight of every position, [1,R,h,w] for R regions; None: 1.
        rows: rows of the whole map that the part covers.
        columns: columns of the whole map that the part covers.
    """

    features: Tensor
    pixel_weight: Tensor | None
    rows: slice
    columns: slice

    @property
    def total(self) -> Tensor:
        """Sum of the pixel weights, [R]."""
        if self.pixel_weight is None:
            return torch.tensor([float(self.features.shape[-2:].numel())], device=self.features.device)
        return self.pixel_weight.sum((0, 2, 3))


class Term(ABC):
    """One summand of a loss.

    Args:
        layer: the layer whose features it compares.
        label: its name in messages.
    """

    def __init__(self, layer: str, label: str) -> None:
        self.layer, self.label = layer, label

    @abstractmethod
    def whole(self, features: Tensor, pixel_weight: Tensor | None) -> Tensor:
        """The value, a scalar, for a whole map [1,C,h,w] and its pixel weights [1,R,h,w]."""

    @abstractmethod
    def sums(self, part: Part) -> list[Tensor]:
        """The sums that the value is a function of; those of all parts add up to those of the whole map."""

    @abstractmethod
    def of_sums(self, sums: Sequence[Tensor]) -> Tensor:
        """The value, a scalar, from the sums over a whole map."""

    @abstractmethod
    def of_zeros(self) -> float:
        """The value for a map of zeros."""


class StatisticTerm(Term):
    """A term whose target is a statistic of other pictures of any sizes. The last of its sums is `Part.total`."""

    loss: StyleLoss | WassersteinStyleLoss

    @abstractmethod
    def capture(self, examples: Sequence[tuple[Tensor, Sequence[Tensor]]]) -> None:
        """Take the target from the sums over whole maps.

        Args:
            examples: for every example its share in the target of each region, [R], and its sums; the shares of a
                region add up to 1.
        """


class GramTerm(StatisticTerm):
    """Distance between Gram matrices.

    Args:
        layer: the layer whose features it compares.
        loss: not centred, with or without a target.

    Raises:
        ValueError: the loss is centred; a centred Gram matrix is not a sum over positions.
    """

    def __init__(self, layer: str, loss: StyleLoss) -> None:
        if loss.centered:
            raise ValueError(f"GramTerm: expected a loss that is not centred, got {loss}")
        super().__init__(layer, f"layer {layer}")
        self.loss: StyleLoss = loss

    def whole(self, features: Tensor, pixel_weight: Tensor | None) -> Tensor:
        """The value for a whole map."""
        return self.loss(features, pixel_weight)

    def sums(self, part: Part) -> list[Tensor]:
        """Gram matrices [R,C,C] and numbers of positions [R]."""
        return [_regions(gram_matrix(part.features, "none", pixel_weight=part.pixel_weight)), part.total]

    def of_sums(self, sums: Sequence[Tensor]) -> Tensor:
        """The value from Gram matrices and numbers of positions."""
        return self.loss.of_gram(_batch(self._normalised(sums)))

    def capture(self, examples: Sequence[tuple[Tensor, Sequence[Tensor]]]) -> None:
        """The target is the mixture of the examples' Gram matrices."""
        mixture = [share.view(-1, 1, 1) * self._normalised(sums) for share, sums in examples]
        target = _batch(torch.stack(mixture).sum(0))
        self.loss = StyleLoss(target, self.loss.weight, self.loss.normalize, self.loss.scale)

    def of_zeros(self) -> float:
        """The value for a map of zeros."""
        assert self.loss.target is not None
        return float(self.loss.of_gram(torch.zeros_like(self.loss.target)))

    def _normalised(self, sums: Sequence[Tensor]) -> Tensor:
        gram, total = sums
        if self.loss.normalize == "none":
            return gram
        if not isinstance(self.loss.normalize, str):
            return gram / self.loss.normalize
        divisor = total * gram.shape[-1] if self.loss.normalize == "chw" else total
        return gram / _positive(divisor).to(gram.dtype).view(-1, 1, 1)


class MomentsTerm(StatisticTerm):
    """Distance between normal distributions of features.

    Second moments are taken around a fixed point near the mean, which avoids cancellation in the covariance: while
    capturing, the mean of the first part; later, the mean of the target.

    Args:
        layer: the layer whose features it compares.
        loss: with or without a target.
    """

    def __init__(self, layer: str, loss: WassersteinStyleLoss) -> None:
        super().__init__(layer, f"layer {layer}")
        self.loss: WassersteinStyleLoss = loss
        self._origin: Tensor | None = None

    def whole(self, features: Tensor, pixel_weight: Tensor | None) -> Tensor:
        """The value for a whole map."""
        return self.loss(features, pixel_weight)

    def sums(self, part: Part) -> list[Tensor]:
        """Second moments [R,C,C] and first moments [R,C] around the origin, and numbers of positions [R]."""
        features = widened(part.features)
        if self._origin is None:
            self._origin = features.detach().mean((0, 2, 3))
        centred = features - self._origin.view(1, -1, 1, 1)
        ones = torch.ones_like(centred[:, :1])
        pixel_weight = ones if part.pixel_weight is None else part.pixel_weight.to(centred.dtype)
        first = torch.einsum("bchw,brhw->rc", centred, pixel_weight)
        return [_regions(gram_matrix(centred, "none", pixel_weight=part.pixel_weight)), first, part.total]

    def of_sums(self, sums: Sequence[Tensor]) -> Tensor:
        """The value from the moments."""
        return self.loss.of_moments(*map(_batch, self._moments(sums)))

    def capture(self, examples: Sequence[tuple[Tensor, Sequence[Tensor]]]) -> None:
        """The target is the normal distribution with the moments of the mixture of the examples."""
        shares = torch.stack([share for share, _ in examples])
        means, covariances = map(torch.stack, zip(*(self._moments(sums) for _, sums in examples), strict=True))
        mean = (shares[..., None] * means).sum(0)
        apart = means - mean
        spread = covariances + apart[..., :, None] * apart[..., None, :]
        self.loss.capture_moments(_batch(mean), _batch((shares[..., None, None] * spread).sum(0)))
        self._origin = mean.mean(0)

    def of_zeros(self) -> float:
        """The value for a map of zeros."""
        assert self.loss.target_mean is not None and self.loss.target_covariance is not None
        zeros = torch.zeros_like(self.loss.target_mean), torch.zeros_like(self.loss.target_covariance)
        return float(self.loss.of_moments(*zeros))

    def _moments(self, sums: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        second, first, total = sums
        assert self._origin is not None
        divisor = _positive(total).to(first.dtype)
        offset = first / divisor[:, None]
        return self._origin + offset, second / divisor[:, None, None] - offset[:, :, None] * offset[:, None, :]


class ContentTerm(Term):
    """Distance to the features of one picture.

    Args:
        layer: the layer whose features it compares.
        loss: with or without a target.
    """

    def __init__(self, layer: str, loss: ContentLoss) -> None:
        super().__init__(layer, f"content layer {layer}")
        self.loss = loss

    def whole(self, features: Tensor, pixel_weight: Tensor | None) -> Tensor:
        """The value for a whole map; pixel weights have no effect."""
        return self.loss(features)

    def sums(self, part: Part) -> list[Tensor]:
        """Sums of the squared and of the absolute differences."""
        assert self.loss.target is not None
        difference = widened(part.features) - widened(self.loss.target[..., part.rows, part.columns])
        return [difference.square().sum(), difference.abs().sum()]

    def of_sums(self, sums: Sequence[Tensor]) -> Tensor:
        """The value from the sums."""
        assert self.loss.target is not None
        squares, absolutes = sums
        return self.loss.of_sums(squares, absolutes, self.loss.target.numel())

    def of_zeros(self) -> float:
        """The value for a map of zeros."""
        assert self.loss.target is not None
        return float(self.loss(torch.zeros_like(self.loss.target)))


def _regions(grams: Tensor) -> Tensor:
    """[R,C,C] from a result of `gram_matrix` for a batch of one, [1,C,C] or [1,R,C,C]."""
    return grams if grams.dim() == 3 else grams[0]


def _batch(regions: Tensor) -> Tensor:
    """A batch of one from R regions [R,...]: [1,...] for one region, else [1,R,...]."""
    return regions if regions.shape[0] == 1 else regions[None]


def _positive(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, 1.0)
