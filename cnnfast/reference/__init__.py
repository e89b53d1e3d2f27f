"""The operators of `cnnfast.ops` in plain PyTorch: same names, same signatures, any device, any order of derivative."""

from cnnfast.reference.discs import disc_sum, disc_union, inverse_distance_transform
from cnnfast.reference.distance import mask_to_bins, truncated_distance_transform
from cnnfast.reference.gram import cross_gram, gram_matrix, gram_mse_loss

__all__ = [
    "cross_gram",
    "disc_sum",
    "disc_union",
    "gram_matrix",
    "gram_mse_loss",
    "inverse_distance_transform",
    "mask_to_bins",
    "truncated_distance_transform",
]
