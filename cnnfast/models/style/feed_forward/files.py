"""Files of trained style networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from torch import Tensor

from cnnfast.models.style.feed_forward.examples_network import TransformerNet, transformer_channels
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet
from cnnfast.training.model_files import ENDINGS, NetworkKind, check_path, read_network, register_kind, write_network
from cnnfast.weights.files import write_tensors

_FAMILY = "style network"
_BARE = (".pth", ".model")
# Of instance norms in old files.
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
    endings = (*_BARE, *ENDINGS) if kind == "transformer" else ENDINGS
    check_path("save_style_network", path, endings, between=", ")


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
    if Path(path).suffix.lower() in _BARE:
        write_tensors(path, network.state_dict(), {})
    else:
        write_network(network, path, network.kind, network.options(), settings or {}, texts={"style": style})


def load_style_network(path: str | os.PathLike[str]) -> StyleModel:
    """A trained network from a file that `save_style_network` or the PyTorch examples wrote.

    No code in the file is run. What wrappers put around a state dict (``module.``, ``_orig_mod.`` or ``model.`` before
    all names; a dict with "state_dict", "model" or "params") and the running statistics of instance norms, which old
    files carry along, are dropped; everything else must fit. The widths of a `TransformerNet` are read off its tensors.

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
    network, texts, settings = read_network(path, "load_style_network", _FAMILY, usual="transformer")
    return StyleModel(cast("TransformerNet | JohnsonNet", network), texts.get("style", ""), settings)


def _build_transformer(_: dict[str, Any], tensors: Mapping[str, Tensor]) -> TransformerNet:
    channels = transformer_channels({name: tensor.shape for name, tensor in tensors.items()})
    if channels is None:
        first = next(iter(tensors), None)
        raise ValueError("no tensors" if first is None else f"a file without conv1.conv2d.weight, but with {first}")
    return TransformerNet(channels)


register_kind("transformer", NetworkKind(_FAMILY, _build_transformer, _UNUSED))
register_kind("johnson", NetworkKind(_FAMILY, lambda options, _: JohnsonNet(**options)))
