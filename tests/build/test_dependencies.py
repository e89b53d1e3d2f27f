"""What is imported is declared in pyproject.toml, and what is declared is imported."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnfast._rooms import required_packages

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 brings tomllib")

ROOT = Path(__file__).parents[2]
FOLDERS = ("cnnfast", "tests", "benchmarks", "examples", "tools")
# Extras that users of the package install; the others are for its development.
RUNTIME = ("models", "train", "export", "cli", "samples")
# Import names that are not the distribution's name with _ for -.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cupy": "cupy-cuda13x",
    "cupyx": "cupy-cuda13x",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
}
# What not every machine can install.
NOT_IN_ALL = ("all", "bench-cuda")
# Commands, and plugins that their host loads.
NOT_IMPORTED = {"clang-format", "mypy", "ninja", "ruff", "pytest-xdist", "pytest-benchmark"}
# Functions that import a module by its name; `_module` and `find_spec` besides those with "import" in their name.
IMPORTERS = re.compile("import|^_module$|^find_spec$")


def declared() -> dict[str, set[str]]:
    """Distributions by extra; "" for the dependencies of the package itself, "build" for those of its build."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    groups = {"": project["dependencies"], "build": content["build-system"]["requires"]}
    groups |= {name: wanted for name, wanted in project["optional-dependencies"].items() if name != "all"}
    return {name: {re.match(r"[\w-]+", entry)[0] for entry in entries} for name, entries in groups.items()}


def imports_of(source: str, *, by_name: bool) -> Iterator[str]:
    """Top-level names of the modules that a source imports by statements and, if asked for, by functions."""
    nodes = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]
        elif by_name and isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if IMPORTERS.search(function) and isinstance(node.args[0].value, str):
                yield node.args[0].value.partition(".")[0]


def imported(*places: str, by_name: bool = False) -> dict[str, set[str]]:
    """Distributions that files, or the files of folders, import, each with the files that do."""
    found: dict[str, set[str]] = {}
    for place in (ROOT / name for name in places):
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            local = {*FOLDERS, *sys.stdlib_module_names, *(other.stem for other in path.parent.iterdir())}
            for name in set(imports_of(path.read_text(encoding="utf-8"), by_name=by_name)) - local:
                distribution = DISTRIBUTIONS.get(name, name.replace("_", "-"))
                found.setdefault(distribution, set()).add(str(path.relative_to(ROOT)))
    return found


def missing(wanted: dict[str, set[str]], allowed: set[str]) -> dict[str, list[str]]:
    return {name: sorted(files) for name, files in wanted.items() if name not in allowed}


def test_the_package_and_examples_import_what_their_extras_declare():
    groups = declared()
    allowed = groups[""].union(*(groups[extra] for extra in RUNTIME))
    assert missing(imported("cnnfast", "examples"), allowed) == {}


def test_all_folders_import_what_is_declared():
    assert missing(imported(*FOLDERS), set().union(*declared().values())) == {}


def test_setup_imports_what_the_build_requires():
    assert missing(imported("setup.py"), declared()["build"]) == {}


def test_what_is_declared_is_imported():
    groups = declared()
    used = imported(*FOLDERS, "setup.py", by_name=True).keys() | NOT_IMPORTED
    assert {name: group - used for name, group in groups.items() if group - used} == {}


def test_the_extra_all_names_the_others():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["all"] == [f"cnnfast[{','.join(name for name in extras if name not in NOT_IN_ALL)}]"]


def test_the_installed_metadata_say_the_same():
    """Errors of missing packages and `cnnfast info` read them; those of an editable install are of its installation."""
    found = required_packages()
    groups = declared()
    for extra, names in reversed([(name, groups[name]) for name in ("", *RUNTIME)]):
        assert {name: found.get(name) for name in names} == dict.fromkeys(names, extra), "install the package again"
    assert found.keys() == set().union(*(group for name, group in groups.items() if name != "build"))


def test_imports_are_found():
    source = """
import a.b, c
from d.e import f
from . import g
if TYPE_CHECKING:
    import m
def function():
    import n
foo.importorskip("h.i"), _module("j", 1), print("k")
"""
    assert set(imports_of(source, by_name=False)) == {"a", "c", "d", "n"}
    assert set(imports_of(source, by_name=True)) == {"a", "c", "d", "n", "h", "j"}
