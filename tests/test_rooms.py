"""Modules that need packages of the extras: the error names the cure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cnnfast._rooms import import_room


@pytest.fixture
def rooms(tmp_path, monkeypatch):
    """Modules that import what is not there."""
    for name, package in (("wants_skimage", "skimage.no_such_part"), ("wants_other", "no_such_package")):
        (tmp_path / f"{name}.py").write_text(f"import {package}\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_package_of_an_extra(rooms):
    with pytest.raises(ImportError, match=r"wants_skimage: expected the package skimage, got none.*cnnfast\[models\]"):
        import_room("wants_skimage")


def test_other_packages_are_our_own_fault(rooms):
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        import_room("wants_other")


def test_command_line_starts_without_torchvision():
    pytest.importorskip("typer")
    code = "import sys; sys.modules['torchvision'] = None; from cnnfast.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "segment", "eval", "model.pt", "synthetic"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    assert "expected the package torchvision, got none; install it with: pip install 'cnnfast[models]'" in done.stderr
