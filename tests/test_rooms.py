"""Modules imported on first use, and the error that names the cure where a package of the extras is missing."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cnnfast._rooms import import_room, missing_package


@pytest.fixture
def rooms(tmp_path, monkeypatch):
    """Modules that import what is not there."""
    for name, package in (("wants_scipy", "scipy.no_such_part"), ("wants_other", "no_such_package")):
        (tmp_path / f"{name}.py").write_text(f"import {package}\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_package_of_an_extra(rooms):
    with pytest.raises(ImportError, match=r"wants_scipy: expected the package scipy, got none.*pip install scipy"):
        import_room("wants_scipy")


def test_other_packages_are_our_own_fault(rooms):
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        import_room("wants_other")


def test_cure_of_a_missing_package():
    assert str(missing_package("f", "PIL", "to draw")).endswith("pip install pillow (or the extra models)")
    error = missing_package("f", "no-such-package")
    assert (
        str(error) == "f: expected the package no-such-package, got none; install it with: pip install no-such-package"
    )


def test_command_line_starts_without_torchvision():
    pytest.importorskip("typer")
    code = "import sys; sys.modules['torchvision'] = None; from cnnfast.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "segment", "eval", "model.pt", "synthetic"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    # Of the release that belongs to the torch that there is, and without a look at what else pip would exchange.
    release = int(torch.__version__.split(".")[1]) + 15
    cure = f"pip install --no-deps 'torchvision==0.{release}.*' (or the extra models)"
    assert f"expected the package torchvision, got none; install it with: {cure}" in done.stderr


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with names that are found on first use, one of which needs a package that is not there."""
    sources = {
        "__init__": """from cnnfast._rooms import lazy_names
modules = {"part": ".part", "ops": "cnnfast.ops"}
__getattr__, __dir__ = lazy_names(__name__, modules, {"answer": ".part", "cure": ".ill"})
own = 1
""",
        "part": "answer = 42",
        "ill": "import scipy.no_such_part",
    }
    (tmp_path / "lazy_package").mkdir()
    for name, source in sources.items():
        (tmp_path / "lazy_package" / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("lazy_package")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazy_package"]:
        del sys.modules[name]


class TestLazyNames:
    def test_found_on_first_use(self, package):
        assert {"answer", "cure", "ops", "own", "part"} <= set(dir(package)) and dir(package) == sorted(dir(package))
        assert "lazy_package.part" not in sys.modules
        assert package.answer == 42 and "lazy_package.ill" not in sys.modules
        assert package.part is sys.modules["lazy_package.part"] and package.ops is sys.modules["cnnfast.ops"]

    def test_unknown(self, package):
        with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'question'"):
            _ = package.question

    def test_package_of_an_extra(self, package):
        with pytest.raises(ImportError, match=r"lazy_package.ill: expected the package scipy, got none"):
            _ = package.cure

    @pytest.mark.parametrize(
        "name", ["cnnfast", "cnnfast.models", "cnnfast.models.style", "cnnfast.models.instance_segmentation"]
    )
    def test_every_name_is_there(self, name):
        for extra in ("torchvision", "pycocotools", "typer"):
            pytest.importorskip(extra)
        module = importlib.import_module(name)
        assert all(hasattr(module, listed) for listed in dir(module))

    def test_every_family_is_found_by_its_folder(self):
        import cnnfast.models

        folders = {path.parent.name for path in Path(cnnfast.models.__file__).parent.glob("*/__init__.py")}
        assert folders and folders <= set(dir(cnnfast.models))
