"""Masks as bins of distances, and back: the representation of boundary-aware instance segmentation."""

from cnnfast.layers.distance.bins import BinsToMask, MaskToBins
from cnnfast.layers.distance.inverse import InverseDistanceTransform

__all__ = ["BinsToMask", "InverseDistanceTransform", "MaskToBins"]
