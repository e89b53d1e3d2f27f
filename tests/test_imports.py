"""Imports go down only: systems do not import each other, nothing below models/ imports it, and there is no circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cnnfast

PACKAGE = Path(cnnfast.__file__).parent
MODELS = "cnnfast.models."
# Folders of a family that its systems share, and so may import.
SHARED = {"cnnfast.models.style.picture", "cnnfast.models.instance_segmentation.object_masks"}


def module_names(package: Path) -> dict[str, Path]:
    """Every module below a folder, by its dotted name."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(source: str, modules: dict[str, Path], *, at_import: bool) -> set[str]:
    """The modules that a source names in import statements, only those run at its import or all."""
    found: set[str] = set()

    def take(name: str) -> None:
        if name in modules:
            found.add(name)

    def visit(node: ast.AST) -> None:
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if at_import and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                take(alias.name)
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            # `from package import module` imports the module; `from package import name` the package.
            below = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
            for name in below or {node.module}:
                take(name)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def graph(package: Path, *, at_import: bool = False) -> dict[str, set[str]]:
    """What each module of a package imports of it."""
    modules = module_names(package)
    return {
        name: imports_of(path.read_text(encoding="utf-8"), modules, at_import=at_import) - {name}
        for name, path in modules.items()
    }


def system_of(module: str) -> str | None:
    """The system that a module of models/ belongs to; None for what a family's systems share and for its own files."""
    parts = module.split(".")
    if not module.startswith(MODELS) or len(parts) < 4:
        return None
    room = ".".join(parts[:4])
    return None if room in SHARED or not (PACKAGE.parent / room.replace(".", "/")).is_dir() else room


def family_of(module: str) -> str | None:
    return module.split(".")[2] if module.startswith(MODELS) else None


def forbidden(imports: dict[str, set[str]]) -> list[str]:
    """A line for each import that goes up or from one system to another."""
    lines = []
    for module, used in sorted(imports.items()):
        for other in sorted(used):
            family, target = family_of(module), family_of(other)
            above = module.startswith(("cnnfast.cli.", "cnnfast.models")) or module in ("cnnfast", "cnnfast.cli")
            if target and not above:
                lines.append(f"{module}, below models/, imports {other}")
            if module.startswith("cnnfast.cli.base") and (target or other == "cnnfast.models"):
                lines.append(f"{module}, of the commands' base, imports {other}")
            if (
                not module.startswith("cnnfast.cli")
                and module != "cnnfast.__main__"
                and other.startswith("cnnfast.cli")
            ):
                lines.append(f"{module} imports the command line: {other}")
            if family and target and family != target:
                lines.append(f"{module} imports another family's {other}")
            if system_of(other) and system_of(module) not in (None, system_of(other)):
                lines.append(f"{module} imports another system's {other}")
            shared = any(module.startswith(f"{room}.") for room in SHARED)
            if shared and system_of(other):
                lines.append(f"{module}, which systems share, imports one of them: {other}")
    return lines


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def connect(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in imports[module]:
            if other not in index:
                connect(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in imports:
        if module not in index:
            connect(module)
    return found


def test_imports_go_down():
    assert not forbidden(graph(PACKAGE))


def test_no_circle():
    assert not circles(graph(PACKAGE, at_import=True))


@pytest.mark.parametrize(
    ("module", "line", "told"),
    [
        ("cnnfast.features.vgg", "from cnnfast.models import style", "below models/"),
        ("cnnfast.cli.base.options", "import cnnfast.models.style", "commands' base"),
        ("cnnfast.ops.gram", "from cnnfast.cli import main", "the command line"),
        ("cnnfast.models.style.picture.adam", "import cnnfast.models.instance_segmentation", "another family"),
        ("cnnfast.models.style.transfer.presets", "import cnnfast.models.style.texture.synthesis", "another system"),
        ("cnnfast.models.style.picture.adam", "import cnnfast.models.style.texture.synthesis", "which systems share"),
    ],
)
def test_a_forbidden_import_is_found(module, line, told):
    imports = graph(PACKAGE)
    imports[module] |= imports_of(line, module_names(PACKAGE), at_import=False)
    assert any(told in found for found in forbidden(imports)), forbidden(imports)


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
