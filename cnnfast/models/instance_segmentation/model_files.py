"""Files of trained networks of instance segmentation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model
from cnnfast.weights.files import WeightsError, check_tensors, read_tensors, safetensors_for, write_tensors

_ENDINGS = (".pt", ".safetensors")
_FAMILY = "cnnfast instance segmentation 1"


class SegmentationModel(NamedTuple):
    """A network, and what its file says about it.

    Attributes:
        network: in evaluation mode.
        settings: that it was built from.
        classes: names, the first one is that of label 1.
        category_ids: numbers of the classes in COCO files.
        training: plain settings of its training.
    """

    network: nn.Module
    settings: ModelSettings
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    training: dict[str, Any]


def check_model_path(path: str | os.PathLike[str]) -> None:
    """Raises ValueError for an ending that is not one of ours."""
    suffix = Path(path).suffix.lower()
    if suffix not in _ENDINGS:
        raise ValueError(f"save_model: expected a path ending in {' or '.join(_ENDINGS)}, got {os.fspath(path)}")
    if suffix == ".safetensors":
        safetensors_for("save_model")


def save_model(
    network: nn.Module,
    path: str | os.PathLike[str],
    settings: ModelSettings,
    classes: Sequence[str],
    *,
    category_ids: Sequence[int] | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a network so that the file is always either the old or the new one, whole.

    Args:
        network: from :func:`~cnnfast.models.instance_segmentation.architectures.build_model`.
        path: .pt is a dict of texts and "state_dict", .safetensors has the texts as metadata.
        settings: that it was built from.
        classes: names, without the background.
        category_ids: their numbers in COCO files; by default 1, 2, 3 ...
        training: plain values for people.

    Raises:
        ValueError: an ending that is none of these, or not as many names and numbers as classes.
        OSError: the file cannot be written.
        ImportError: safetensors is not installed.

    Example:
        >>> import tempfile
        >>> from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model
        >>> from cnnfast.models.instance_segmentation.model_files import load_model, save_model
        >>> settings = ModelSettings("maskrcnn", "small")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(build_model(settings), f"{folder}/a.pt", settings, ["cell"])
        ...     load_model(f"{folder}/a.pt").classes
        ('cell',)
    """
    check_model_path(path)
    numbers = list(range(1, len(classes) + 1)) if category_ids is None else list(category_ids)
    if not len(numbers) == len(classes) == settings.num_classes - 1:
        counts = f"{len(classes)} names and {len(numbers)} numbers"
        raise ValueError(f"save_model: expected them for {settings.num_classes - 1} classes, got {counts}")
    about = {
        "format": _FAMILY,
        "arch": settings.kind,
        "options": json.dumps(settings.plain()),
        "classes": json.dumps(list(classes)),
        "category_ids": json.dumps(numbers),
        "settings": json.dumps(dict(training or {})),
    }
    write_tensors(path, network.state_dict(), about)


def load_model(path: str | os.PathLike[str]) -> SegmentationModel:
    """A trained network from a file that `save_model` wrote. No code in the file is run.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, of another network, or holds values that are not finite.
        ImportError: safetensors is not installed.

    Example:
        >>> from cnnfast.models.instance_segmentation.model_files import load_model
        >>> load_model("a.pt")
        Traceback (most recent call last):
        ...
        cnnfast.weights.files.WeightsError: load_model: expected a weights file, got a.pt which does not exist
    """
    path = Path(path)
    content = read_tensors(path, "load_model")
    expected = f"load_model: expected a network of instance segmentation in {path}"
    about = content.metadata
    if about.get("format") != _FAMILY:
        kind = f"a network of the kind {about['arch']!r}" if "arch" in about else "a file that does not say it is one"
        raise WeightsError(f"{expected}, got {kind}")
    try:
        settings = ModelSettings(**json.loads(about["options"]))
        classes, numbers = tuple(json.loads(about["classes"])), tuple(json.loads(about["category_ids"]))
        training = json.loads(about["settings"])
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{expected}, got: {error}") from error
    network = build_model(settings)
    check_tensors(expected, network, content.tensors)
    network.load_state_dict(content.tensors)
    return SegmentationModel(network.eval().requires_grad_(False), settings, classes, numbers, training)
