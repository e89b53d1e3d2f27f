"""Modules imported on first use, with an error that names the cure if they need a package of the extras."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Mapping
from importlib.util import resolve_name
from types import ModuleType
from typing import Any

from cnnfast._errors import MissingPackageError

# Modules whose distribution has another name; others differ in "_" and "-" at most.
_DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image"}


def required_packages() -> dict[str, str]:
    """The distributions that cnnfast needs -> the first extra that brings each, or "" for what it always needs.

    That is what the metadata of the installed package says; nothing where it is not installed.

    Example:
        >>> from cnnfast._rooms import required_packages
        >>> required_packages()["pillow"]
        'models'
    """
    packages: dict[str, str] = {}
    try:
        requirements = importlib.metadata.requires("cnnfast") or []
    except importlib.metadata.PackageNotFoundError:
        return packages
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([^'\"]+)", requirement)
        if name and name[0] != "cnnfast":  # the extra "all" names the others
            packages.setdefault(_normalized(name[0]), extra[1] if extra else "")
    return packages


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _extra_of(package: str) -> str:
    return required_packages().get(_DISTRIBUTIONS.get(package, _normalized(package)), "")


def missing_package(wanted_by: str, package: str, purpose: str = "") -> MissingPackageError:
    """The error of a package that is not installed, with the command that installs it.

    Example:
        >>> from cnnfast._rooms import missing_package
        >>> print(missing_package("load_image", "Pillow"))
        load_image: expected the package Pillow, got none; install it with: pip install pillow (or the extra models)
    """
    name = _DISTRIBUTIONS.get(package, package)
    extra = _extra_of(package)
    wanted = f"{package} {purpose}".strip()
    message = f"{wanted_by}: expected the package {wanted}, got none; install it with: pip install {_pinned(name)}"
    message += f" (or the extra {extra})" if extra else ""
    return MissingPackageError(message, name=package)


def _pinned(name: str) -> str:
    """What pip must be told: each torchvision belongs to one torch, which pip would exchange for another one's sake."""
    if name != "torchvision":
        return _normalized(name)
    release = re.match(r"2\.(\d+)", importlib.metadata.version("torch"))
    return f"--no-deps 'torchvision==0.{int(release[1]) + 15}.*'" if release else name


def import_room(name: str) -> ModuleType:
    """A module of ours.

    Raises:
        MissingPackageError: it needs a package that is not installed; the message names the extra that brings it.

    Example:
        >>> from cnnfast._rooms import import_room
        >>> import_room("cnnfast.ops").__name__
        'cnnfast.ops'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not _extra_of(package):
            raise
        raise missing_package(name, package) from error


def lazy_names(
    package: str, modules: Mapping[str, str], members: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Functions ``__getattr__`` and ``__dir__`` of a package whose names are imported on first use.

    Args:
        package: its name.
        modules: names that are modules, each with the module; a leading dot stands for the package.
        members: names that are functions or classes, each with its module, likewise.

    Example:
        >>> from cnnfast._rooms import lazy_names
        >>> getattribute, _ = lazy_names("cnnfast", {"ops": ".ops"}, {"gram_matrix": ".ops.gram"})
        >>> getattribute("ops").__name__, getattribute("gram_matrix").__name__
        ('cnnfast.ops', 'gram_matrix')
    """
    homes = members or {}

    def find(name: str) -> Any:
        if name in homes:
            return getattr(import_room(resolve_name(homes[name], package)), name)
        if name in modules:
            return import_room(resolve_name(modules[name], package))
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules, *homes})

    return find, names
