"""Options as dataclasses: a field is the one place of an option's name, type, default, help and limits.

A command has a dataclass whose fields are made by `option` and `argument`; `cnnfast.cli.base.commands` makes its
command line from that. Nothing here needs the command line's packages, so that any module may define such dataclasses.

    @dataclass(kw_only=True)
    class Options:
        picture: Path = argument("picture to read")
        output: Path = option("picture to write", "-o", "--output")
        steps: int = option("of training", default=100, minimum=1)
        dtype: str = option("of the convolutions", default="float32", choices=("float32", "bfloat16"))
        flip: bool = option("mirror half of the pictures", default=True)
        masks: list[Path] = option("regions", default=list)

- An option is called ``--name-of-the-field`` unless names are given.
- It is required if it has no default. A callable default, such as ``list``, is called for each instance.
- A bool with the default False is the flag ``--name``; any other bool (also ``bool | None``) has ``--name/--no-name``.
- Dataclasses are ``kw_only`` and may inherit. Options are listed as dataclasses order their fields: those of the bases
  first. A subclass may define a field again, to give it another default or help; it keeps its place.
- A field that a class adds is listed right after the field above it in that class, even if a base class defined that
  one first. ``after="other"`` lists it after any other option.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

_KEY = "cnnfast option"


@dataclass(frozen=True)
class Option:
    """What a field says about its option.

    Attributes:
        help: shown by ``--help``.
        names: on the command line, such as ``("-o", "--output")``; none for the field's own.
        positional: whether it is an argument without a name.
        metavar: stands for the value in messages and ``--help``.
        choices: values that are allowed, none for all.
        minimum: least value that is allowed.
        after: option that it is listed after.
    """

    help: str
    names: tuple[str, ...] = ()
    positional: bool = False
    metavar: str | None = None
    choices: Sequence[str] = ()
    minimum: int | None = None
    after: str | None = None


def option(
    help: str,
    *names: str,
    default: Any = MISSING,
    choices: Sequence[str] = (),
    minimum: int | None = None,
    after: str | None = None,
) -> Any:
    """A field of a dataclass that is an option of the command line.

    Example:
        >>> from dataclasses import dataclass
        >>> from cnnfast._options import option
        >>> @dataclass(kw_only=True)
        ... class Options:
        ...     steps: int = option("of training", default=100, minimum=1)
        >>> Options().steps
        100
    """
    return _field(Option(help, names, choices=choices, minimum=minimum, after=after), default)


def argument(help: str, *, metavar: str | None = None) -> Any:
    """A field of a dataclass that is an argument of the command line, without a name and required."""
    return _field(Option(help, positional=True, metavar=metavar), MISSING)


def _field(facts: Option, default: Any) -> Any:
    given = {"default_factory": default} if callable(default) else {"default": default}
    return field(metadata={_KEY: facts}, **given)


def options_of(cls: type) -> list[tuple[Field[Any], Option]]:
    """The fields of a dataclass that are options, in the order of the command line.

    Example:
        >>> from dataclasses import dataclass
        >>> from cnnfast._options import option, options_of
        >>> @dataclass(kw_only=True)
        ... class Common:
        ...     seed: int = option("of the noise", default=0)
        ...     device: str = option("to work on", default="auto")
        >>> @dataclass(kw_only=True)
        ... class Options(Common):
        ...     scale: float = option("of the result", default=1.0, after="seed")
        >>> [field.name for field, _ in options_of(Options)]
        ['seed', 'scale', 'device']
    """
    known = {item.name: item for item in fields(cls) if _KEY in item.metadata}
    order = list(known)
    for base in reversed(cls.__mro__):
        inherited = {name for parent in base.__mro__[1:] for name in _facts(parent)}
        own = _facts(base)
        above = None
        for name in inspect.get_annotations(base):
            if name not in own:
                continue
            place = own[name].after or (None if name in inherited else above)
            if place is not None:
                order.remove(name)
                order.insert(order.index(place) + 1, name)
            above = name
    return [(known[name], known[name].metadata[_KEY]) for name in order]


def option_name(field: str, facts: Option) -> str:
    """The long name of an option, such as ``--batch-size``.

    Example:
        >>> from cnnfast._options import Option, option_name
        >>> option_name("batch_size", Option("at once")), option_name("batch_size", Option("at once", ("--batch",)))
        ('--batch-size', '--batch')
    """
    return next((name for name in facts.names if name.startswith("--")), f"--{field.replace('_', '-')}")


def _facts(cls: type) -> dict[str, Option]:
    """The options of a dataclass by name; a field without `option` is none."""
    found: dict[str, Field[Any]] = getattr(cls, "__dataclass_fields__", {})
    return {name: item.metadata[_KEY] for name, item in found.items() if _KEY in item.metadata}
