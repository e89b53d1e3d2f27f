"""Tensors out of a weights file of any kind, whatever the file really contains."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from cnnfast._atomic import atomic_write
from cnnfast._checkpoint import check_archive, check_storages
from cnnfast._errors import InputError
from cnnfast._files import is_url, problem_of, size_of
from cnnfast._rooms import missing_package

# Keys under which programs keep the state dict, and what wrappers of networks (data parallel, torch.compile, attributes
# of a trainer) put before all names.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "params", "network")
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.")
# Compressed weights become larger when they are read; by more than this they are no weights.
_LARGEST_GROWTH = 50


class WeightsError(InputError):
    """A weights file is missing, damaged, unsafe, of another network, or of an unknown input convention."""


@dataclass
class TensorFile:
    """Contents of a weights file: tensors by name, and the metadata of the file.

    `layout` is "OIHW" or "HWIO", the axes of convolution weights, or None where the file format does not say.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    layout: str | None = "OIHW"


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file as 64 hex digits.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     sha256_of(file.name)[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_tensors(path: Path, function: str) -> TensorFile:
    """All tensors of a .pth, .pt, .model, .safetensors, .h5 or .npz file, on the CPU. No code in the file is ever run.

    Raises:
        WeightsError: the file is missing, empty, damaged, holds anything else, or is of an unknown kind.
        ImportError: reading this kind of file needs a package that is not installed.
    """
    expected = f"{function}: expected a weights file"
    reader = _READERS.get(path.suffix.lower())
    if is_url(path):
        raise WeightsError(f"{expected}, got the address {path}: download it first")
    if problem := problem_of(path):
        wanted = f"{expected} that may be read" if problem.startswith("may not be read") else expected
        raise WeightsError(f"{wanted}, got {path} which {problem}")
    if reader is None:
        raise WeightsError(f"{expected} ending in {', '.join(_READERS)}, got {path}")
    package, read = reader
    module = _import(package, function, path) if package else None
    try:
        return read(path, module)
    except WeightsError:
        raise
    except PermissionError as error:
        raise WeightsError(f"{expected} that may be read, got {path}: permission denied") from error
    except Exception as error:  # parsers raise nearly every type of exception on damaged files
        what = "is damaged" if package else "is damaged or holds objects other than tensors, which are never loaded"
        raise WeightsError(f"{expected}, got {path} which {what} ({type(error).__name__})") from error


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file that `read_tensors` reads; it is replaced atomically.

    A .safetensors file gets the metadata in its header; any other one is PyTorch's: a dict of the metadata and
    "state_dict", or without metadata the bare state dict.

    Raises:
        OSError: the file cannot be written.
        ImportError: safetensors is not installed.
    """
    path = Path(path)
    state: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        # Modules that share a parameter have it under several names, which safetensors does not take.
        state[name] = plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())
    if path.suffix.lower() == ".safetensors":
        save_file = safetensors_for("write_tensors").save_file
        with atomic_write(path) as temporary:
            save_file(state, temporary, metadata=dict(metadata))
        return
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        # Given a path, torch would write the file's name into its contents.
        torch.save({**metadata, "state_dict": state} if metadata else state, file)


def safetensors_for(function: str) -> Any:
    """The module safetensors.torch.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import safetensors.torch
    except ImportError as error:
        raise missing_package(function, "safetensors", "for files of this ending") from error
    return safetensors.torch


def check_tensors(expected: str, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Check that tensors have exactly the names and shapes of a network, and finite values.

    Raises:
        WeightsError: they are not; the message begins with what was expected.
    """
    own = network.state_dict()
    for name in own:
        if name not in tensors:
            found = ", ".join(sorted(tensors)[:3]) or "none"
            raise WeightsError(f"{expected}, got a file without {name}; its tensors are {found} ...")
    for name, tensor in tensors.items():
        if name not in own:
            raise WeightsError(f"{expected}, got a file with {name}, which no such network has")
        if tensor.shape != own[name].shape:
            raise WeightsError(f"{expected}, got {name} {list(tensor.shape)} in the place of {list(own[name].shape)}")
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{expected}, got {name} with values that are NaN or infinite")


def _import(package: str, function: str, path: Path) -> ModuleType:
    try:
        return import_module(package)
    except ImportError as error:
        raise missing_package(function, package.partition(".")[0], f"to read {path.name}") from error


def _read_torch(path: Path, _: Any) -> TensorFile:
    # Mapping keeps the classifier, seven eighths of most files, on the disk; only the zip format can be mapped.
    check_archive(path)
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    check_storages(content)
    metadata: dict[str, str] = {}
    while isinstance(content, dict):
        metadata |= {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, str)}
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict):
        raise TypeError(f"the file holds a {type(content).__name__}")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return TensorFile(_without_prefix(tensors), metadata)


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors without what wrappers of a whole network put before every name."""
    while tensors:
        prefix = next((word for word in _PREFIXES if all(name.startswith(word) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _read_safetensors(path: Path, safetensors: Any) -> TensorFile:
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return TensorFile(_without_prefix(tensors), dict(file.metadata() or {}))


def _read_hdf5(path: Path, h5py: Any) -> TensorFile:
    tensors = {}
    room = _LARGEST_GROWTH * size_of(path)

    def collect(name: str | bytes, item: Any) -> None:
        nonlocal room
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            room -= item.nbytes
            if room < 0:
                raise ValueError(f"{name!r} declares {item.nbytes} bytes")
            # A name that is no UTF-8 comes as bytes.
            tensors[name if isinstance(name, str) else repr(name)] = torch.from_numpy(item[()])

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    return TensorFile(tensors, layout="HWIO")


def _read_npz(path: Path, numpy: Any) -> TensorFile:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _LARGEST_GROWTH * size_of(path):
            raise ValueError("it declares more than it can hold")
    with numpy.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype.kind == "f"}
    return TensorFile(tensors, layout=None)


_READERS: dict[str, tuple[str | None, Any]] = {
    ".pth": (None, _read_torch),
    ".pt": (None, _read_torch),
    ".model": (None, _read_torch),
    ".safetensors": ("safetensors", _read_safetensors),
    ".h5": ("h5py", _read_hdf5),
    ".npz": ("numpy", _read_npz),
}
