"""What a bug report needs, and the commands as such."""

from __future__ import annotations

import platform
import subprocess
import sys

import numpy
import pytest
import torch

import cnnfast as package
from cnnfast._errors import InputError, MissingPackageError


def test_info(cnnfast):
    result = cnnfast("info")
    assert result.status == 0 and not result.err
    facts = {}
    for line in result.out.splitlines():
        name, _, value = line.partition(":")
        facts[name.strip()] = value.strip()
    assert facts["cnnfast"].startswith(package.__version__)
    assert facts["python"].startswith(platform.python_version())
    assert facts["torch"].startswith(torch.__version__)
    assert facts["built with"].startswith(f"torch {package.build_info()['torch']}")
    assert facts["cpu kernels"].startswith(package.cpu_capability())
    assert facts["threads"].startswith(str(torch.get_num_threads()))
    assert facts["system"] == platform.platform()
    assert facts["weights"] == "none found: random filters are used"
    listed = dict(entry.split(" ") for entry in facts["packages"].split(", "))
    assert listed["numpy"] == numpy.__version__
    # Every extra's: models, train, export, cli, test, lint and bench.
    assert {"pillow", "pycocotools", "onnx", "rich", "pytest", "ruff", "edt"} <= set(listed) and "cnnfast" not in listed
    assert facts["cuda kernels"] and facts["free memory"] and facts["processor"]
    assert {"gpu", "cuda:0"} & set(facts)


def test_info_names_weights_and_their_faults(cnnfast, monkeypatch, tiny_vgg):
    monkeypatch.setenv("CNNFAST_VGG", str(tiny_vgg))
    assert "VGG-16 from CNNFAST_VGG (tiny.safetensors), input torchvision" in cnnfast("info").out
    monkeypatch.setenv("CNNFAST_VGG", "missing.pth")
    result = cnnfast("info")
    assert result.status == 0 and "missing.pth which does not exist (from CNNFAST_VGG)" in result.out


def test_info_names_a_chosen_capability(cnnfast, monkeypatch):
    monkeypatch.setenv("CNNFAST_CPU_CAPABILITY", "base")
    assert "(CNNFAST_CPU_CAPABILITY=base)" in cnnfast("info").out


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["texture", "--help"], ["weights", "--help"], ["info", "--help"]]
)
def test_help(cnnfast, arguments):
    result = cnnfast(*arguments)
    assert result.status == 0 and "Usage: cnnfast" in result.out and not result.err


def test_help_of_texture_explains_scale(cnnfast):
    words = " ".join(cnnfast("texture", "--help").out.split())
    assert "a bigger picture of the same texture" in words and "the sample's own pixel scale" in words


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["paint"], "No such command 'paint'"),
        (["info", "now"], "unexpected extra argument"),
        (["texture"], "Missing"),
        (["texture", "a.png"], "Missing option '-o' / '--output'"),
        (["texture", "a.png", "-o", "b.png", "--sise", "3"], "No such option: --sise"),
        (["texture", "a.png", "-o", "b.png", "--seed", "x"], "--seed"),
    ],
)
def test_wrong_calls(cnnfast, arguments, words):
    result = cnnfast(*arguments)
    assert result.status == 2 and not result.out
    assert result.err.count("\n") == 1 and result.err.startswith("cnnfast: ") and words in result.err


class TestFailures:
    def fail_with(self, monkeypatch, error):
        def fail():
            raise error

        monkeypatch.setattr("cnnfast.cli.info._facts", fail)

    @pytest.mark.parametrize(
        "error, words",
        [
            (InputError("expected this,\n  got that"), "cnnfast: expected this, got that"),
            (FileNotFoundError(2, "No such file or directory", "a.png"), "cnnfast: a.png: No such file or directory"),
            (MemoryError(), "cnnfast: MemoryError"),
            (MissingPackageError("needs x"), "cnnfast: needs x"),
        ],
    )
    def test_one_line(self, cnnfast, monkeypatch, error, words):
        self.fail_with(monkeypatch, error)
        result = cnnfast("info")
        assert (result.status, result.err) == (2, words + "\n")

    def test_fault(self, cnnfast, monkeypatch):
        self.fail_with(monkeypatch, KeyError("x"))
        result = cnnfast("info")
        last = (
            f"cnnfast: KeyError: 'x' (a fault of cnnfast {package.__version__}: please report it with the lines above)"
        )
        assert result.status == 1 and result.err.startswith("Traceback") and result.err.splitlines()[-1] == last

    def test_interrupted(self, cnnfast, monkeypatch):
        self.fail_with(monkeypatch, KeyboardInterrupt())
        assert cnnfast("info").status == 130

    @pytest.mark.parametrize("place", [0, 1])
    def test_traceback_only_with_debug(self, cnnfast, monkeypatch, place):
        self.fail_with(monkeypatch, InputError("expected this"))
        arguments = ["info"]
        arguments.insert(place, "--debug")
        result = cnnfast(*arguments)
        assert result.status == 2 and "Traceback" in result.err and result.err.endswith("cnnfast: expected this\n")


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [("typer", ["info"]), ("rich", ["texture", "a.png", "-o", "b.png"])],
    ids=["typer", "rich"],
)
def test_missing_extra(missing, arguments, environment):
    program = f"import sys; sys.modules[{missing!r}] = None; from cnnfast.cli import main; sys.exit(main({arguments}))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.count("\n") == 1 and missing in result.stderr
    assert f"pip install {missing} (or the extra cli)" in result.stderr


def test_as_a_module_and_with_a_reader_that_leaves(environment):
    command = [sys.executable, "-m", "cnnfast", "info"]
    whole = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert whole.stdout.startswith("cnnfast: ")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1
