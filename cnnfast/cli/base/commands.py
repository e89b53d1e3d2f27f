"""Commands from dataclasses of options, and groups of commands whose modules are imported on first use."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from cnnfast._errors import InputError
from cnnfast._options import Option, option_name, options_of
from cnnfast._rooms import import_room


def build_command(name: str, help: str, options: type, run: Callable[[Any], int]) -> TyperCommand:
    """A command whose options are the fields of a dataclass.

    Args:
        name: of the command.
        help: shown by ``--help``.
        options: dataclass with fields of `cnnfast._options`.
        run: gets an instance of it, checked by `check_limits`; returns the exit status.
    """
    hints = get_type_hints(options)
    parameters = []
    factories = set()
    for field, facts in options_of(options):
        default = ... if field.default is MISSING else field.default
        if field.default_factory is not MISSING:
            factories.add(field.name)
            default = None
        hint = hints[field.name]
        described = _describe(facts, field.name, hint, default)
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(field.name, kind, default=described, annotation=hint))

    def call(**words: Any) -> int:
        given = {name: value for name, value in words.items() if name not in factories or value is not None}
        instance = options(**given)
        check_limits(instance)
        return run(instance)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = hints
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, help=help)(call)
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand)
    return command


def _describe(facts: Option, name: str, hint: Any, default: Any) -> Any:
    """An option or argument as typer wants it, which takes ``...`` as "required"."""
    if facts.positional:
        return typer.Argument(default, help=facts.help, metavar=facts.metavar)
    names = facts.names
    if not names and hint is bool and default is False:
        names = (option_name(name, facts),)  # typer would add --no-name
    return typer.Option(default, *names, help=facts.help, metavar=facts.metavar)


def check_limits(options: Any) -> None:
    """Check the choices and minima of a dataclass of options.

    Raises:
        InputError: names the option, what it wants and what it got.
    """
    for field, facts in options_of(type(options)):
        value = getattr(options, field.name)
        if value is None:
            continue
        option = option_name(field.name, facts)
        if facts.choices and value not in facts.choices:
            raise InputError(f"{option}: expected {' or '.join(facts.choices)}, got {value!r}")
        if facts.minimum is not None and value < facts.minimum:
            raise InputError(f"{option}: expected at least {facts.minimum}, got {value}")


class LazyCommand(TyperCommand):
    """A command whose module is imported when it is called, not when it is listed.

    Args:
        name: of the command.
        module: has the dataclass ``Options`` and the function ``run``.
        help: its first sentence is shown where commands are listed, all of it by the command's own ``--help``.
    """

    def __init__(self, name: str, module: str, help: str) -> None:
        super().__init__(name, help=inspect.cleandoc(help), rich_markup_mode=None)
        self._module = module

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Imports the module and lets its command read the arguments."""
        room = import_room(self._module)
        command = build_command(self.name or "", self.help or "", room.Options, room.run)
        return command.make_context(info_name, args, parent, **extra)


class _Group(TyperGroup):
    """A group that runs its command ``default``, if it has one, when none is named."""

    default: str | None = None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ([] if self.default is None else [self.default]))


def build_group(
    name: str, help: str, commands: Mapping[str, tuple[str, str] | TyperGroup], *, default: str | None = None
) -> TyperGroup:
    """A group of commands.

    Args:
        name: of the group.
        help: shown by ``--help``.
        commands: name -> a group, or module and help of a `LazyCommand`.
        default: the command to run when none is named; it is not listed.
    """
    group = _Group(name=name, help=help, rich_markup_mode=None)
    group.default = default
    for key, value in commands.items():
        command = value if isinstance(value, TyperGroup) else LazyCommand(key, *value)
        command.hidden = key == default
        group.add_command(command)
    return group
