"""The families of benchmarks: every file of this folder is one, and nothing else lists them.

A family has one or both of

    cases(device: str, quick: bool) -> Iterator[Case]
    runs(roofline, quick: bool, text: str) -> Iterator[dict]

`cases` are calls that are timed in turn, by the report as by pytest-benchmark. `runs` are whole programs, of the report
alone: they return finished records of those whose name contains the text. The first case of a group is its headline,
the row of the front page, unless `HEADLINE` is the label of another one. `DEVICES` names the devices that a family runs
on, where that is not the CPU alone.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from benchmarks.case import Case


def names() -> tuple[str, ...]:
    """The names of all families."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def names_on(device: str) -> tuple[str, ...]:
    """The names of the families that run on a device."""
    return tuple(name for name in names() if device in getattr(_module(name), "DEVICES", ("cpu",)))


def headline(name: str) -> str | None:
    """The label of the headlines of a family's groups; None where that is the first case of each."""
    return getattr(_module(name), "HEADLINE", None)


def cases(name: str, device: str = "cpu", quick: bool = False) -> list[Case]:
    """The cases of a family."""
    module = _module(name)
    return list(module.cases(device, quick)) if hasattr(module, "cases") else []


def runs(name: str, roofline: Mapping[str, Any], quick: bool = False, text: str = "") -> Iterator[dict[str, Any]]:
    """The records of a family's whole programs."""
    module = _module(name)
    return module.runs(roofline, quick, text) if hasattr(module, "runs") else iter(())


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
