"""The operators of `cnnfast.ops` in plain PyTorch: same names, same signatures, any device, any order of derivative."""

from cnnfast.reference.gram import cross_gram, gram_matrix, gram_mse_loss

__all__ = ["cross_gram", "gram_matrix", "gram_mse_loss"]
