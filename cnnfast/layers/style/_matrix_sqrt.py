"""Square root of positive definite matrices by matrix products alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _MatrixSqrt(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, iterations: int) -> Tensor:
        root = _newton_schulz(matrix, iterations)
        ctx.save_for_backward(root)
        ctx.iterations = iterations
        return root

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (root,) = ctx.saved_tensors
        return _Lyapunov.apply(root, grad, ctx.iterations), None


class _Lyapunov(torch.autograd.Function):
    """The solution X of R X + X R = Q. Its adjoint is the same equation, so it has derivatives of every order."""

    @staticmethod
    def forward(ctx: Any, root: Tensor, right: Tensor, iterations: int) -> Tensor:
        solution = _lyapunov(root, right, iterations)
        ctx.save_for_backward(root, solution)
        ctx.iterations = iterations
        return solution

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        root, solution = ctx.saved_tensors
        adjoint = _Lyapunov.apply(root, grad, ctx.iterations)
        return -(adjoint @ solution.mT + solution.mT @ adjoint), adjoint, None


def matrix_sqrt(matrix: Tensor, iterations: int = 12) -> Tensor:
    """Square root of symmetric positive definite matrices.

    The forward pass is the coupled Newton-Schulz iteration on the matrix divided by its Frobenius norm, which converges
    quadratically; the backward pass solves the Lyapunov equation ``R X + X R = grad`` by a similar iteration.

    Paper: Higham, "Functions of Matrices", SIAM 2008, chapter 6; Lin, Maji, "Improved Bilinear Pooling with CNNs",
    BMVC 2017, section 3.

    Args:
        matrix: [..., C, C], float32 or float64, not zero.
        iterations: Number of Newton-Schulz and of Lyapunov steps.

    Returns:
        [..., C, C], the dtype of matrix.
    """
    return _MatrixSqrt.apply(matrix, iterations)


def _frobenius(matrix: Tensor) -> Tensor:
    return matrix.square().sum((-2, -1), keepdim=True).sqrt()


def _three_identity(matrix: Tensor) -> Tensor:
    return 3 * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def _newton_schulz(matrix: Tensor, iterations: int) -> Tensor:
    norm = _frobenius(matrix)
    three = _three_identity(matrix)
    root, inverse_root = matrix / norm, (three / 3).expand_as(matrix)
    for _ in range(iterations):
        step = (three - inverse_root @ root) / 2
        root, inverse_root = root @ step, step @ inverse_root
    return root * norm.sqrt()


def _lyapunov(root: Tensor, right: Tensor, iterations: int) -> Tensor:
    norm = _frobenius(root)
    three = _three_identity(root)
    sign, solution = root / norm, right / norm
    for _ in range(iterations):
        square = sign @ sign
        commutator = sign @ solution - solution @ sign
        solution = (solution @ (three - square) - sign @ commutator) / 2
        sign = sign @ (three - square) / 2
    return solution / 2
