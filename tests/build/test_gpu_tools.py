"""The tools around the CUDA kernels, where there is no GPU: what they say, and that a failed step fails the whole."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
pytestmark = pytest.mark.skipif(not TOOLS.is_dir(), reason="the tests are run without the sources")


def load(name):
    specification = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


class TestGpu:
    @pytest.fixture
    def gpu(self, monkeypatch, tmp_path):
        module = load("gpu")
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "LOGS", tmp_path / "logs")
        (tmp_path / "logs").mkdir()
        return module

    def test_without_a_gpu_one_sentence(self, gpu, monkeypatch, capsys):
        monkeypatch.setattr(gpu, "visible_gpu", lambda: "torch finds none")
        assert gpu.main() == 3
        assert capsys.readouterr().out == (
            "No GPU was found (torch finds none), so nothing was built, tested or measured.\n"
        )

    @pytest.mark.parametrize(
        ("code", "verdict"),
        [("print('fine')", "ok"), ("raise SystemExit(3)", "failed"), ("while 1: pass", "failed")],
    )
    def test_verdict_of_a_step(self, gpu, capsys, code, verdict):
        assert gpu.Step("a step", [sys.executable, "-c", code], 60).run(1.5 if "while" in code else 60) == verdict
        assert capsys.readouterr().out.startswith(f"a step                   {verdict}")

    def test_missing_tool_is_skipped(self, gpu):
        assert gpu.Step("a step", ["none"], 1, missing="not on PATH").run(60) == "skipped"

    def test_every_step_is_a_command_of_this_python(self, gpu, monkeypatch):
        monkeypatch.setattr(gpu.shutil, "which", lambda name: f"/bin/{name}")
        steps = gpu.steps((9, 0))
        assert all(sys.executable in step.command and not step.missing for step in steps)
        assert all(isinstance(word, str) for step in steps for word in step.command)
        assert {tool for step in steps for tool in gpu.SANITIZER_TOOLS if tool in step.command} == set(
            gpu.SANITIZER_TOOLS
        )
        assert steps[0].environment == {"CNNFAST_CUDA": "1", "TORCH_CUDA_ARCH_LIST": "9.0"}


class TestCompileCuda:
    OUTPUT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z3fooPf' for 'sm_90'
ptxas info    : Function properties for _Z3fooPf
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 30 registers, used 1 barriers, 2048 bytes smem
ptxas info    : Compiling entry function '_Z3barPf' for 'sm_90'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers
"""

    def test_resources(self):
        rows = load("compile_cuda").resources(self.OUTPUT)
        assert rows == [("bar", "sm_90", 12, 0, 0), ("foo", "sm_90", 30, 2048, 16)]

    def test_flags(self):
        assert load("compile_cuda").code_flags("8.6;12.0+PTX") == [
            "-gencode=arch=compute_86,code=sm_86",
            "-gencode=arch=compute_120,code=sm_120",
            "-gencode=arch=compute_120,code=compute_120",
        ]
