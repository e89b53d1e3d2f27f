"""Pictures and their ground truth as a cascade takes them."""

from __future__ import annotations

from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from cnnfast.weights import Preprocessing


class CascadeTransform(GeneralizedRCNNTransform):
    """torchvision's resizing and batching, with an input convention of any channel order and unit.

    Args:
        min_size: px of the shorter side to which pictures are resized.
        max_size: largest px of the longer side, which takes precedence.
        preprocessing: input convention of the backbone.
    """

    def __init__(self, min_size: int, max_size: int, preprocessing: Preprocessing) -> None:
        mean = [value / preprocessing.unit for value in preprocessing.mean]
        std = [value / preprocessing.unit for value in preprocessing.std]
        super().__init__(min_size, max_size, mean, std)
        self.preprocessing = preprocessing

    def normalize(self, image: Tensor) -> Tensor:
        """RGB in [0,1] into the convention: ``(unit x - mean) / std``."""
        return super().normalize(image.flip(0) if self.preprocessing.order == "BGR" else image)
