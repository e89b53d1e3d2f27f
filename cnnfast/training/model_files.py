"""Files of trained networks: the tensors, and texts that say which network they are of and how it was trained."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from cnnfast.weights.files import WeightsError, check_tensors, read_tensors, safetensors_for, write_tensors

ENDINGS = (".pt", ".safetensors")
"""Endings of files that hold texts beside the tensors."""


@dataclass(frozen=True)
class NetworkKind:
    """A kind of networks that files hold.

    Attributes:
        family: what networks of this and similar kinds are called in messages.
        build: options and tensors of a file to a network, not yet with these tensors.
        unused: endings of the names of tensors in such files that the network does not have.
    """

    family: str
    build: Callable[[dict[str, Any], Mapping[str, Tensor]], nn.Module]
    unused: tuple[str, ...] = ()


_KINDS: dict[str, NetworkKind] = {}


class NetworkFile(NamedTuple):
    """A network, and what its file says about it.

    Attributes:
        network: in evaluation mode, frozen.
        texts: all that the file says.
        settings: of the training.
    """

    network: nn.Module
    texts: Mapping[str, str]
    settings: dict[str, Any]


def register_kind(name: str, kind: NetworkKind) -> None:
    """Make a kind of networks known under the name that its files have as "arch"."""
    _KINDS[name] = kind


def check_path(
    function: str, path: str | os.PathLike[str], endings: Sequence[str] = ENDINGS, *, between: str = " or "
) -> None:
    """Find out before a training whether its network can be written.

    Raises:
        ValueError: the path has none of the endings; the message has `between` between these.
        ImportError: safetensors is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in endings:
        raise ValueError(f"{function}: expected a path ending in {between.join(endings)}, got {os.fspath(path)}")
    if suffix == ".safetensors":
        safetensors_for(function)


def write_network(
    network: nn.Module,
    path: str | os.PathLike[str],
    kind: str,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    format: str | None = None,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write a network so that the file is always either the old or the new one, whole.

    A .safetensors file has the texts as metadata, any other one is a dict of the texts and "state_dict".

    Args:
        network: of a registered kind.
        path: file to write or replace.
        kind: name of the kind, the text "arch".
        options: that it is built from, plain values.
        settings: of its training, plain values.
        format: name of the family's format, if it has one.
        texts: more of them.

    Raises:
        TypeError: options or settings are not plain.
        OSError: the file cannot be written.
        ImportError: safetensors is not installed.
    """
    about = {} if format is None else {"format": format}
    about |= {"arch": kind, "options": json.dumps(dict(options)), **(texts or {})}
    about["settings"] = json.dumps(dict(settings))
    write_tensors(path, network.state_dict(), about)


def read_network(
    path: str | os.PathLike[str], function: str, family: str, *, format: str | None = None, usual: str | None = None
) -> NetworkFile:
    """A network of a family from a file. No code in the file is run.

    Args:
        path: file to read.
        function: name for messages.
        family: as the kinds of the family are registered.
        format: name of the family's format, if it has one; files of others are refused.
        usual: kind of files that do not tell.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, of another network, or holds values that are not finite.
        ImportError: safetensors is not installed.
    """
    path = Path(path)
    content = read_tensors(path, function)
    expected = f"{function}: expected a {family} in {path}"
    texts = content.metadata
    name = texts.get("arch", usual)
    kind = _KINDS.get(name or "")
    if kind is None or kind.family != family or (format is not None and texts.get("format") != format):
        what = "a file that does not say it is one" if name is None else f"a network of the kind {name!r}"
        raise WeightsError(f"{expected}, got {what}")
    tensors = content.tensors
    with refused(expected):
        options, settings = parse_text(texts, "options", dict), parse_text(texts, "settings", dict)
        if kind.unused:
            kept = {key: tensor for key, tensor in tensors.items() if not key.endswith(kind.unused)}
        else:
            kept = dict(tensors)
        # Without memory for its weights, so that options of a giant cost nothing before the file's tensors agree.
        with torch.device("meta"):
            outline = kind.build(options, tensors)
    check_tensors(expected, outline, kept)
    with refused(expected):
        network = kind.build(options, tensors)
    network.load_state_dict(kept)
    return NetworkFile(network.eval().requires_grad_(False), texts, settings)


@contextmanager
def refused(expected: str) -> Iterator[None]:
    """Errors of texts that cannot be understood become those of a file, of whatever type they are.

    Raises:
        WeightsError: the message begins with what was expected.
    """
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{expected}, got: {' '.join(str(error).split()) or type(error).__name__}") from error


_Kind = TypeVar("_Kind", dict[str, Any], list[Any])


def parse_text(texts: Mapping[str, str], key: str, kind: type[_Kind]) -> _Kind:
    """The value that a text of a file has as JSON; an empty one where there is no such text.

    Raises:
        ValueError: it is no JSON, or another kind of value.

    Example:
        >>> from cnnfast.training.model_files import parse_text
        >>> parse_text({"options": '{"R": 9}'}, "options", dict), parse_text({}, "classes", list)
        ({'R': 9}, [])
    """
    if key not in texts:
        return kind()
    try:
        value = json.loads(texts[key])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{key} that are no JSON: {texts[key][:40]!r}") from error
    if not isinstance(value, kind):
        raise ValueError(f"{key} that are no {'object' if kind is dict else 'list'} of JSON: {texts[key][:40]!r}")
    return value
