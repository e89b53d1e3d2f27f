"""Examples use what users may use: names that packages of cnnfast list, and nothing of the command line."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import examples

SOURCES = sorted(Path(examples.__file__).parent.rglob("*.py"))


def private_imports(source: str) -> list[str]:
    """Imports of cnnfast that are not from a package, or have a name with a leading underscore."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
        for module in modules:
            if module.partition(".")[0] != "cnnfast":
                continue
            parts = [*module.split("."), *(names if isinstance(node, ast.ImportFrom) else ())]
            package = hasattr(importlib.import_module(module), "__path__")
            if not package or "cli" in parts or any(part.startswith("_") for part in parts):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_public_names_only(path):
    assert not private_imports(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "line",
    [
        "from cnnfast.detection.metrics.masks import mask_iou",
        "from cnnfast.cli.base import options",
        "import cnnfast._rooms",
        "from cnnfast import _rooms",
    ],
)
def test_a_private_import_is_found(line):
    pytest.importorskip("typer")
    assert private_imports(f"import torch\n{line}\n") == [line]
