"""Files of trained style networks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from cnnfast.models.style.feed_forward.examples_network import TransformerNet, transformer_channels
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet
from cnnfast.weights.files import WeightsError, check_tensors, read_tensors, safetensors_for, write_tensors

_BARE = (".pth", ".model")
_ENDINGS = (*_BARE, ".pt", ".safetensors")
_UNUSED = ("running_mean", "running_var", "num_batches_tracked")


class StyleModel(NamedTuple):
    """A network, and what its file says about it.

    Attributes:
        network: `TransformerNet` or `JohnsonNet`, in evaluation mode.
        style: name of the style, "" where the file does not tell.
        settings: of its training.
    """

    network: TransformerNet | JohnsonNet
    style: str
    settings: dict[str, Any]


def check_model_path(path: str | os.PathLike[str], kind: str = "transformer") -> None:
    """Raises ValueError for an ending that is not one of ours, or that cannot hold this kind of network."""
    suffix = Path(path).suffix.lower()
    allowed = _ENDINGS if kind == "transformer" else _ENDINGS[len(_BARE) :]
    if suffix not in allowed:
        raise ValueError(f"save_style_network: expected a path ending in {', '.join(allowed)}, got {os.fspath(path)}")
    if suffix == ".safetensors":
        safetensors_for("save_style_network")


def save_style_network(
    network: TransformerNet | JohnsonNet,
    path: str | os.PathLike[str],
    *,
    style: str = "",
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write a network's weights so that the file is always either the old or the new one, whole.

    Args:
        network: a `TransformerNet` or `JohnsonNet`.
        path: its ending chooses the format: .pth and .model hold the bare state dict that the PyTorch examples read
            (a `TransformerNet` only); .pt a dict of "arch", "options", "style", "settings" and "state_dict";
            .safetensors the same, the first four as metadata.
        style: a name for people.
        settings: plain values for people, e.g. of the training.

    Raises:
        ValueError: an ending that is none of these, or settings that are not plain.
        OSError: the file cannot be written.
        ImportError: safetensors is not installed.

    Example:
        >>> import tempfile
        >>> from cnnfast.models.style.feed_forward.files import load_style_network, save_style_network
        >>> from cnnfast.models.style.feed_forward.examples_network import TransformerNet
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_style_network(TransformerNet((4, 6, 8)), f"{folder}/a.pt", style="waves")
        ...     model = load_style_network(f"{folder}/a.pt")
        >>> model.network.channels, model.style
        ((4, 6, 8), 'waves')
    """
    check_model_path(path, network.kind)
    about = {
        "arch": network.kind,
        "options": json.dumps(network.options()),
        "style": style,
        "settings": json.dumps(dict(settings or {})),
    }
    bare = Path(path).suffix.lower() in _BARE
    write_tensors(path, network.state_dict(), {} if bare else about)


def load_style_network(path: str | os.PathLike[str]) -> StyleModel:
    """A trained network from a file that `save_style_network` or the PyTorch examples wrote.

    No code in the file is run. A prefix ``module.`` and the running statistics of instance norms, which old files carry
    along, are dropped; everything else must fit. The widths of a `TransformerNet` are read off its tensors.

    Args:
        path: .pth, .pt, .model or .safetensors.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, of another network, or holds values that are not finite.
        ImportError: safetensors is not installed.

    Example:
        >>> from cnnfast.models.style.feed_forward.files import load_style_network
        >>> load_style_network("a.pth")
        Traceback (most recent call last):
        ...
        cnnfast.weights.files.WeightsError: load_style_network: expected a weights file, got a.pth which does not exist
    """
    path = Path(path)
    content = read_tensors(path, "load_style_network")
    tensors = {name.removeprefix("module."): tensor for name, tensor in content.tensors.items()}
    expected = f"load_style_network: expected a style network in {path}"
    try:
        options = json.loads(content.metadata.get("options", "{}"))
        settings = json.loads(content.metadata.get("settings", "{}"))
        network = _build(content.metadata.get("arch", "transformer"), options, tensors)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{expected}, got: {error}") from error
    if isinstance(network, TransformerNet):
        tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(_UNUSED)}
    check_tensors(expected, network, tensors)
    network.load_state_dict(tensors)
    return StyleModel(network.eval().requires_grad_(False), content.metadata.get("style", ""), settings)


def _build(kind: str, options: dict[str, Any], tensors: Mapping[str, Tensor]) -> TransformerNet | JohnsonNet:
    if kind == "johnson":
        return JohnsonNet(**options)
    if kind != "transformer":
        raise ValueError(f"a network of the kind {kind!r}")
    channels = transformer_channels({name: tensor.shape for name, tensor in tensors.items()})
    if channels is None:
        first = next(iter(tensors), None)
        raise ValueError("no tensors" if first is None else f"a file without conv1.conv2d.weight, but with {first}")
    return TransformerNet(channels)
