"""What `import cnnfast` does in a fresh process: quick, light, and clear when the extension is missing or broken."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cnnfast
from cnnfast import _C, _extension

PACKAGE = Path(cnnfast.__file__).parent
HEAVY = ("torchvision", "PIL", "h5py", "matplotlib", "typer", "rich", "skimage", "safetensors")


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Runs code in a fresh process in a folder that is not the repository, with the package that this process uses."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_from_a_foreign_folder(tmp_path):
    if not any(importlib.metadata.distributions(name="cnnfast")):
        pytest.skip("cnnfast is used from its source folder, not installed")
    done = python("import cnnfast; print(cnnfast.__version__, cnnfast.cpu_capability())", tmp_path, PYTHONPATH="")
    assert done.stdout.split() == [cnnfast.__version__, cnnfast.cpu_capability()], done.stderr


def test_rooms_come_on_first_use_and_no_optional_package_with_them(tmp_path):
    code = f"""
import sys, cnnfast
early = [name for name in ("cnnfast.layers", "cnnfast.models") if name in sys.modules]
rooms = [cnnfast.ops.__name__, cnnfast.reference.__name__, cnnfast.layers.__name__]
print(early, rooms, [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = python(code, tmp_path)
    assert done.stdout.strip() == "[] ['cnnfast.ops', 'cnnfast.reference', 'cnnfast.layers'] []", done.stderr


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="'cnnfast' has no attribute 'nothing'"):
        _ = cnnfast.nothing


def test_unknown_capability_fails_the_import(tmp_path):
    done = python("import cnnfast", tmp_path, CNNFAST_CPU_CAPABILITY="sse9")
    assert done.stderr.strip().splitlines()[-1] == (
        "ImportError: CNNFAST_CPU_CAPABILITY must be default, avx2 or avx512, got 'sse9'"
    )


@pytest.mark.skipif("CNNFAST_CPU_CAPABILITY" in os.environ, reason="the choice of this process is lowered already")
@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_capability_is_lowered_never_raised(tmp_path, capability):
    order = ["default", "avx2", "avx512"]
    done = python("import cnnfast; print(cnnfast.cpu_capability())", tmp_path, CNNFAST_CPU_CAPABILITY=capability)
    assert done.stdout.strip() == min(capability, cnnfast.cpu_capability(), key=order.index), done.stderr


class TestLoadingFails:
    """The whole import once, then the sentence for each cause."""

    @pytest.fixture
    def copy(self, tmp_path) -> Path:
        """A copy of the package without its compiled files."""
        without = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
        return Path(shutil.copytree(PACKAGE, tmp_path / "copy" / "cnnfast", ignore=without))

    @staticmethod
    def import_error(copy: Path, folder: Path) -> str:
        # An editable installation would lend the copy its extension.
        code = """
import sys
sys.meta_path = [f for f in sys.meta_path if not getattr(f, "__module__", "").startswith("__editable__")]
import cnnfast
"""
        done = python(code, folder, PYTHONPATH=str(copy.parent))
        assert done.returncode == 1
        return done.stderr.strip().splitlines()[-1]

    def test_missing(self, copy, tmp_path):
        (copy.parent / "setup.py").touch()
        assert self.import_error(copy, tmp_path) == (
            f"ImportError: cnnfast is imported from its source folder {copy.parent}, which has no compiled extension; "
            "run pip install --no-build-isolation -e . there, or leave this folder to use an installed cnnfast"
        )

    def test_broken(self, copy, tmp_path):
        (copy / Path(_C.__file__).name).write_bytes(b"broken" + Path(_C.__file__).read_bytes())
        message = self.import_error(copy, tmp_path)
        assert message.startswith("ImportError: cnnfast: the compiled extension")
        built = cnnfast.build_info()["torch"]
        assert f"does not load under torch {torch.__version__} (built with torch {built})" in message
        assert "Rebuild it: pip install --no-build-isolation" in message

    def test_of_another_version(self, copy, tmp_path):
        shutil.copy(_C.__file__, copy)
        version = copy / "_version.py"
        version.write_text(version.read_text().replace(f'"{cnnfast.__version__}"', '"99.0.0"'))
        expected = f"extension is of version {cnnfast.__version__} but the Python files are of version 99.0.0"
        assert expected in self.import_error(copy, tmp_path)

    def test_missing_from_an_installation(self, tmp_path):
        message = _extension._explain(ImportError("no _C"), tmp_path)
        assert "has no compiled extension. Reinstall it: pip install --no-build-isolation" in message

    def test_of_another_python(self, tmp_path):
        (tmp_path / "_C.cpython-36m-x86_64-linux-gnu.so").touch()
        message = _extension._explain(ImportError("no _C"), tmp_path)
        assert "_C.cpython-36m-x86_64-linux-gnu.so was built for another Python, this is CPython 3." in message


def test_extension_is_never_loaded_before_torch(tmp_path):
    done = python("import cnnfast._C, sys; print('torch' in sys.modules)", tmp_path)
    assert done.stdout.strip() == "True", done.stderr


class TestCudaKernels:
    def test_reason_or_kernels(self):
        """Either the kernels are registered, or one sentence says why they are not."""
        built = cnnfast.build_info()["cuda"]
        registered = torch._C._dispatch_has_kernel_for_dispatch_key("cnnfast::gram", "CUDA")
        assert registered == (not _extension.cuda_error)
        if built.startswith("none: "):
            assert (
                _extension.cuda_error == f"this build of cnnfast has no CUDA kernels ({built.removeprefix('none: ')})"
            )
        elif torch.version.cuda is None:
            assert _extension.cuda_error == f"torch {torch.__version__} is a build without CUDA"
        else:
            assert _extension.cuda_error == ""

    def test_reason_is_shown_with_the_first_cuda_tensor(self, monkeypatch):
        monkeypatch.setattr(_extension, "cuda_error", "the reason")
        with torch._subclasses.FakeTensorMode(), pytest.raises(RuntimeError) as caught:
            cnnfast.ops.gram_matrix(torch.empty(1, 2, 3, device="cuda"))
        assert str(caught.value) == "gram_matrix: x is on cuda:0, but the reason"

    @pytest.mark.parametrize(
        ("architectures", "lacking", "running"),
        [
            ("7.5", [(7, 0), (8, 0), (9, 0)], [(7, 5)]),
            ("8.0;9.0", [(7, 5), (10, 0)], [(8, 0), (8, 6), (8, 9), (9, 0)]),
            ("8.6 9.0+PTX", [(8, 0)], [(8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]),
            ("9.0a", [(8, 9), (10, 0)], [(9, 0)]),
            ("Hopper", [], [(8, 0)]),
        ],
    )
    def test_architectures(self, architectures, lacking, running):
        assert all(_extension._lacks(capability, architectures) for capability in lacking)
        assert not any(_extension._lacks(capability, architectures) for capability in running)

    def test_gpu_without_kernels_names_both(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 0))
        monkeypatch.setattr(_extension, "build_info", lambda: {"cuda_architectures": "8.0;9.0+PTX"})
        message = _extension.cuda_device_error.__wrapped__(0)
        assert "built for compute capability 8.0;9.0+PTX and this GPU has 7.0" in message
        assert 'TORCH_CUDA_ARCH_LIST="7.0" pip install' in message
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8, 6))
        assert _extension.cuda_device_error.__wrapped__(0) == ""
