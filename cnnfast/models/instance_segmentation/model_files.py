"""Files of trained networks of instance segmentation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from cnnfast.models.instance_segmentation.architectures import KINDS, ModelSettings, build_model
from cnnfast.training.model_files import (
    NetworkKind,
    check_path,
    parse_text,
    read_network,
    refused,
    register_kind,
    write_network,
)

_FAMILY = "network of instance segmentation"
_FORMAT = "cnnfast instance segmentation 1"

for _kind in KINDS:
    register_kind(_kind, NetworkKind(_FAMILY, lambda options, _: build_model(ModelSettings(**options))))


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
    check_path("save_model", path)


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
    texts = {"classes": json.dumps(list(classes)), "category_ids": json.dumps(numbers)}
    write_network(network, path, settings.kind, settings.plain(), training or {}, format=_FORMAT, texts=texts)


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
    network, texts, training = read_network(path, "load_model", _FAMILY, format=_FORMAT)
    with refused(f"load_model: expected a {_FAMILY} in {Path(path)}"):
        settings = ModelSettings(**parse_text(texts, "options", dict))
        classes, numbers = (tuple(parse_text(texts, key, list)) for key in ("classes", "category_ids"))
        known = [isinstance(name, str) for name in classes] + [type(number) is int for number in numbers]
        if not all(known) or not len(classes) == len(numbers) == settings.num_classes - 1:
            raise ValueError(f"names and numbers {classes[:3]}, {numbers[:3]} for {settings.num_classes - 1} classes")
    return SegmentationModel(network, settings, classes, numbers, training)
