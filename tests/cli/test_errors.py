"""Whose fault an error is: one line and status 2 for what the user can act on, a traceback and status 1 for bugs."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
import torch

import cnnfast as package
from cnnfast._errors import DeviceError, DivergedError, InputError, MissingPackageError
from cnnfast.cli.base.errors import can_user_act, user_input
from cnnfast.detection.data import AnnotationError
from cnnfast.images import ImageError
from cnnfast.weights import WeightsError


def raiser(error):
    def fail(*_arguments, **_options):
        raise error

    return fail


@pytest.mark.parametrize("kind", [ImageError, WeightsError, AnnotationError])
def test_errors_of_files_are_errors_of_input(kind):
    assert issubclass(kind, InputError) and issubclass(InputError, ValueError)


@pytest.mark.parametrize(
    ("error", "users"),
    [
        (InputError("a"), True),
        (DivergedError("a"), True),
        (DeviceError("a"), True),
        (MissingPackageError("a"), True),
        (FileNotFoundError(errno.ENOENT, "missing", "a.png"), True),
        (OSError(errno.ENOSPC, "full"), True),
        (MemoryError(), True),
        (torch.OutOfMemoryError("a"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (OSError(errno.EBADF, "bad descriptor"), False),
        (ModuleNotFoundError("No module named 'a'"), False),
        (ImportError("cannot import name"), False),
        (ValueError("a"), False),
        (TypeError("a"), False),
        (RuntimeError("a"), False),
        (KeyError("a"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_can_user_act(error, users):
    assert can_user_act(error) == users


def test_user_input_converts_what_library_functions_refuse():
    error = ValueError("a")
    with pytest.raises(InputError, match="a") as caught, user_input():
        raise error
    assert caught.value.__cause__ is error
    for kind in (KeyError, TypeError):
        with pytest.raises(kind), user_input():
            raise kind("a")
    kept = ImageError("a")
    with pytest.raises(ImageError) as caught, user_input():
        raise kept
    assert caught.value is kept


def assert_fault(result, error) -> None:
    *trace, last = result.err.splitlines()
    assert result.status == 1 and trace[0] == "Traceback (most recent call last):", result
    assert last.startswith(f"cnnfast: {type(error).__name__}: ") and "please report it" in last
    assert package.__version__ in last and "fail" in result.err


BUGS = [KeyError("bug"), ValueError("bug"), TypeError("bug"), RuntimeError("bug"), IndexError("bug")]


@pytest.mark.parametrize("error", BUGS, ids=lambda error: type(error).__name__)
class TestBugsInTheWorkAreOurs:
    def test_texture(self, cnnfast, sample, monkeypatch, error):
        monkeypatch.setattr("cnnfast.cli.style.texture.synthesize_texture", raiser(error))
        assert_fault(cnnfast("texture", sample, "-o", "out.png", "--weights", "random"), error)

    def test_style(self, cnnfast, sample, monkeypatch, error):
        monkeypatch.setattr("cnnfast.cli.style.transfer.stylize", raiser(error))
        words = ("--weights", "random", "--size", "28")
        assert_fault(cnnfast("style", sample, sample, "-o", "out.png", *words), error)

    def test_apply(self, cnnfast, sample, monkeypatch, error):
        model = SimpleNamespace(network=torch.nn.Identity())
        monkeypatch.setattr("cnnfast.cli.style.apply.load_style_network", lambda path: model)
        monkeypatch.setattr("cnnfast.cli.style.apply.apply_style", raiser(error))
        assert_fault(cnnfast("fast-style", "apply", "model.pt", sample, "-o", "out.png"), error)

    def test_predict(self, cnnfast, sample, monkeypatch, error):
        model = SimpleNamespace(network=torch.nn.Identity())
        monkeypatch.setattr("cnnfast.cli.segment.predict.load_model", lambda path: model)
        monkeypatch.setattr("cnnfast.cli.segment.predict.predict_instances", raiser(error))
        assert_fault(cnnfast("segment", "predict", "model.pt", sample, "-o", "out.png"), error)

    def test_eval(self, cnnfast, monkeypatch, error):
        settings = SimpleNamespace(kind="rpn-omn")
        model = SimpleNamespace(network=torch.nn.Identity(), settings=settings, classes=("object",), category_ids=(1,))
        monkeypatch.setattr("cnnfast.cli.segment.eval.load_model", lambda path: model)
        monkeypatch.setattr("cnnfast.cli.segment.eval.evaluate", raiser(error))
        assert_fault(cnnfast("segment", "eval", "model.pt", "synthetic"), error)

    def test_fast_style_train(self, cnnfast, sample, tmp_path, monkeypatch, error):
        monkeypatch.setattr("cnnfast.cli.style.train.train_fast_style", raiser(error))
        assert_fault(cnnfast("fast-style", "train", sample, tmp_path, "-o", "out.pth", "--weights", "random"), error)

    def test_segment_train(self, cnnfast, monkeypatch, error):
        monkeypatch.setattr("cnnfast.cli.segment.train.train_segmentation", raiser(error))
        assert_fault(cnnfast("segment", "train", "synthetic", "--pictures", 1, "-o", "out.pt"), error)


def test_a_wrong_type_in_the_preparation_is_our_fault(cnnfast, sample, monkeypatch):
    error = TypeError("bug")
    monkeypatch.setattr("cnnfast.cli.style.texture.plan_texture", raiser(error))
    assert_fault(cnnfast("texture", sample, "-o", "out.png", "--weights", "random"), error)
