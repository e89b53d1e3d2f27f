"""Fused operators: drop-in functions with CPU kernels, gradients of any order, and twins in ``cnnfast.reference``."""

from cnnfast.arguments.discs import bin_radii
from cnnfast.ops.discs import disc_sum, disc_union, inverse_distance_transform
from cnnfast.ops.distance import mask_to_bins, truncated_distance_transform
from cnnfast.ops.gram import cross_gram, gram_matrix, gram_mse_loss

__all__ = [
    "bin_radii",
    "cross_gram",
    "disc_sum",
    "disc_union",
    "gram_matrix",
    "gram_mse_loss",
    "inverse_distance_transform",
    "mask_to_bins",
    "truncated_distance_transform",
]
