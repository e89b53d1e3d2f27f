"""Operator families: found by their modules, with the same names and signatures in ops and reference."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

from cnnfast import ops, reference
from cnnfast._families import public_functions


def families(package):
    return [file.name for file in pkgutil.iter_modules(package.__path__) if not file.name.startswith("_")]


def test_every_family_has_its_twin():
    assert families(ops) == families(reference) != []
    assert ops.__all__ == reference.__all__ == sorted(ops.__all__)


@pytest.mark.parametrize("name", ops.__all__)
def test_signatures_are_those_of_the_twins(name):
    ours, twin = (inspect.signature(getattr(package, name)) for package in (ops, reference))
    assert list(ours.parameters) == list(twin.parameters)
    for parameter in ours.parameters.values():
        assert twin.parameters[parameter.name].kind is parameter.kind
        assert twin.parameters[parameter.name].default == parameter.default


@pytest.mark.parametrize("package", [ops, reference], ids=["ops", "reference"])
def test_functions_are_those_of_the_modules(package):
    for family in families(package):
        module = importlib.import_module(f"{package.__name__}.{family}")
        assert all(getattr(package, name) is getattr(module, name) for name in module.__all__)


def test_a_new_module_is_found(tmp_path, monkeypatch):
    room = tmp_path / "rooms_of_a_test"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "_private.py").write_text("raise AssertionError('imported')\n")
    (room / "identity.py").write_text("__all__ = ['same']\n\n\ndef same(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = public_functions("rooms_of_a_test", [str(room)])
    assert list(found) == ["same"] and found["same"](3) == 3
