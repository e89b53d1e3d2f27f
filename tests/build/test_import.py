"""What `import cnnfast` does in a fresh process: quick, light, and clear when the extension is missing or broken."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cnnfast
from cnnfast import _C

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


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the package without its compiled files, in a folder of its own."""
    shutil.copytree(
        PACKAGE, tmp_path / "copy" / "cnnfast", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    )
    return tmp_path / "copy"


def import_error(folder: Path, elsewhere: Path, **environment: str) -> str:
    done = python("import cnnfast", elsewhere, PYTHONPATH=str(folder), **environment)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    return last


def test_from_a_foreign_folder(tmp_path):
    if not any(importlib.metadata.distributions(name="cnnfast")):
        pytest.skip("cnnfast is used from its source folder, not installed")
    done = python("import cnnfast; print(cnnfast.__version__, cnnfast.cpu_capability())", tmp_path, PYTHONPATH="")
    assert done.stdout.split() == [cnnfast.__version__, cnnfast.cpu_capability()], done.stderr


def test_no_optional_package_is_imported(tmp_path):
    code = f"import sys, cnnfast, cnnfast.ops, cnnfast.layers; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = python(code, tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_unknown_attribute(tmp_path):
    with pytest.raises(AttributeError, match="'cnnfast' has no attribute 'nothing'"):
        _ = cnnfast.nothing


def test_rooms_are_imported_on_first_use(tmp_path):
    done = python("import cnnfast; print(cnnfast.ops.__name__, cnnfast.reference.__name__)", tmp_path)
    assert done.stdout.split() == ["cnnfast.ops", "cnnfast.reference"], done.stderr


def test_unknown_capability_fails_the_import(tmp_path):
    done = python("import cnnfast", tmp_path, CNNFAST_CPU_CAPABILITY="sse9")
    assert done.stderr.strip().splitlines()[-1] == (
        "ImportError: CNNFAST_CPU_CAPABILITY must be default, avx2 or avx512, got 'sse9'"
    )


@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_capability_is_lowered_never_raised(tmp_path, capability):
    order = ["default", "avx2", "avx512"]
    done = python("import cnnfast; print(cnnfast.cpu_capability())", tmp_path, CNNFAST_CPU_CAPABILITY=capability)
    best = python("import cnnfast; print(cnnfast.cpu_capability())", tmp_path, CNNFAST_CPU_CAPABILITY="")
    assert done.stdout.strip() == min(capability, best.stdout.strip(), key=order.index), done.stderr


def test_source_folder_without_extension(copy, tmp_path):
    (copy / "setup.py").touch()
    message = import_error(copy, tmp_path)
    assert f"cnnfast is imported from its source folder {copy}, which has no compiled extension" in message
    assert "run pip install --no-build-isolation -e . there, or leave this folder" in message


def test_installation_without_extension(copy, tmp_path):
    assert "has no compiled extension. Reinstall it: pip install --no-build-isolation" in import_error(copy, tmp_path)


def test_extension_of_another_python(copy, tmp_path):
    (copy / "cnnfast" / "_C.cpython-36m-x86_64-linux-gnu.so").touch()
    message = import_error(copy, tmp_path)
    assert "_C.cpython-36m-x86_64-linux-gnu.so was built for another Python, this is CPython 3." in message


def test_broken_extension_names_both_torch_versions_and_the_cure(copy, tmp_path):
    content = Path(_C.__file__).read_bytes()
    (copy / "cnnfast" / Path(_C.__file__).name).write_bytes(b"broken" + content)
    import torch

    message = import_error(copy, tmp_path)
    assert (
        f"does not load under torch {torch.__version__} (built with torch {cnnfast.build_info()['torch']})" in message
    )
    assert "Rebuild it: pip install --no-build-isolation" in message


def test_extension_of_another_version(copy, tmp_path):
    shutil.copy(_C.__file__, copy / "cnnfast")
    init = copy / "cnnfast" / "__init__.py"
    init.write_text(init.read_text().replace(f'"{cnnfast.__version__}"', '"99.0.0"'))
    message = import_error(copy, tmp_path)
    assert f"extension is of version {cnnfast.__version__} but the Python files are of version 99.0.0" in message


def test_extension_is_never_loaded_before_torch(tmp_path):
    done = python("import cnnfast._C, sys; print('torch' in sys.modules)", tmp_path)
    assert done.stdout.strip() == "True", done.stderr


def test_missing_cuda_kernels_are_explained():
    from cnnfast import _extension

    assert _extension.cuda_error.startswith("this build of cnnfast has no CUDA kernels (")
