"""The public functions of a package that has a module for every operator family."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any


def public_functions(package: str, path: Iterable[str]) -> dict[str, Callable[..., Any]]:
    """Name -> function for all that the package's modules list in their `__all__`, sorted by name.

    Modules are found by their files, so that a new family is part of the package as soon as its module is there.
    Modules whose name begins with an underscore are left out.

    Args:
        package: name of the package.
        path: its `__path__`.

    Example:
        >>> import cnnfast.reference
        >>> from cnnfast._families import public_functions
        >>> list(public_functions("cnnfast.reference", cnnfast.reference.__path__))[:2]
        ['bin_radii', 'cross_gram']
    """
    found: dict[str, Callable[..., Any]] = {}
    for file in pkgutil.iter_modules(path):
        if not file.name.startswith("_"):
            module = importlib.import_module(f"{package}.{file.name}")
            found |= {name: getattr(module, name) for name in module.__all__}
    return dict(sorted(found.items()))
