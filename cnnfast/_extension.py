"""Loads the compiled extension and, when that fails, says why and what to do."""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import platform
import re
from pathlib import Path

import torch

from cnnfast._version import __version__

__all__ = ["build_info", "cpu_capability", "cuda_error"]

_FOLDER = Path(__file__).resolve().parent
_REBUILD = "pip install --no-build-isolation --force-reinstall --no-deps"


def _rebuild_command() -> str:
    """The command that builds this installation again, from the folder that pip installed it from where that is known.

    An editable installation stays one.
    """
    import importlib.metadata
    import json
    import shlex
    import urllib.parse
    import urllib.request

    try:
        text = importlib.metadata.distribution("cnnfast").read_text("direct_url.json")
        origin = json.loads(text or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        origin = {}
    address = urllib.parse.urlparse(str(origin.get("url", "")))
    folder = urllib.request.url2pathname(address.path) if address.scheme == "file" else ""
    if not (Path(folder) / "setup.py").is_file():
        return f"{_REBUILD} FOLDER, with the folder of cnnfast's source"
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"{_REBUILD} {editable}{shlex.quote(folder)}"


def _recorded_torch(file: Path) -> str:
    """Returns the torch version that an extension file was built with, without loading the file."""
    try:
        found = re.search(rb"cnnfast built with torch ([\w.+]+)", file.read_bytes())
    except OSError:
        return "unknown"
    return found.group(1).decode() if found else "unknown"


def _explain(error: ImportError, folder: Path = _FOLDER) -> str:
    """Returns why ``cnnfast._C`` did not load, and the cure."""
    if "CNNFAST_CPU_CAPABILITY" in str(error):
        return str(error)
    in_source = (folder.parent / "setup.py").is_file()
    rebuild = f"{_REBUILD} -e ." if in_source else _rebuild_command()
    files = sorted(file for file in folder.glob("_C.*") if file.suffix in (".so", ".pyd"))
    loadable = [file for file in files if file.name.removeprefix("_C") in importlib.machinery.EXTENSION_SUFFIXES]
    if loadable:
        return (
            f"cnnfast: the compiled extension {loadable[0]} does not load under torch {torch.__version__} (built "
            f"with torch {_recorded_torch(loadable[0])}): {error}. Rebuild it: {rebuild}"
        )
    if files:
        return (
            f"cnnfast: the compiled extension {files[0]} was built for another Python, this is "
            f"{platform.python_implementation()} {platform.python_version()}. Rebuild it: {rebuild}"
        )
    if in_source:
        return (
            f"cnnfast is imported from its source folder {folder.parent}, which has no compiled extension; run "
            "pip install --no-build-isolation -e . there, or leave this folder to use an installed cnnfast"
        )
    return f"cnnfast: the installation in {folder} has no compiled extension. Reinstall it: {rebuild}"


def _load_cuda() -> str:
    """Loads ``cnnfast._C_cuda`` and returns an empty text, or the reason why there are no CUDA kernels."""
    built = build_info()["cuda"]
    if built.startswith("none"):
        return f"this build of cnnfast has no CUDA kernels ({built.removeprefix('none: ')})"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    try:
        importlib.import_module("cnnfast._C_cuda")
    except ImportError as error:
        return f"the CUDA kernels, built for CUDA {built}, do not load under torch's CUDA {torch.version.cuda}: {error}"
    return ""


try:
    from cnnfast._C import build_info, cpu_capability
except ImportError as error:
    raise ImportError(_explain(error)) from error

if build_info()["version"] != __version__:
    raise ImportError(
        f"cnnfast: the compiled extension is of version {build_info()['version']} but the Python files are of version "
        f"{__version__}. Rebuild it: {_rebuild_command()}"
    )

importlib.import_module("cnnfast._precision")
cuda_error = _load_cuda()
"""Why CUDA kernels are not available; empty when they are. Shown when the first CUDA tensor arrives."""


def _lacks(capability: tuple[int, int], architectures: str) -> bool:
    """Whether kernels built for a TORCH_CUDA_ARCH_LIST cannot run on a GPU of this compute capability.

    Code runs on GPUs of its own major version and the same or a higher minor one, PTX on every GPU that is not older.
    A list with names in it, as in "Hopper", is not judged.
    """
    entries = re.split(r"[; ]+", architectures.strip())
    found = [re.fullmatch(r"(\d+)\.(\d)[af]?(\+PTX)?", entry) for entry in entries]
    for match in found:
        if match is None:
            return False
        built = int(match[1]), int(match[2])
        if built <= capability and (match[3] or built[0] == capability[0]):
            return False
    return True


@functools.cache
def cuda_device_error(index: int) -> str:
    """Why a GPU cannot run the kernels that were loaded; empty when it can, or where there is no GPU to ask."""
    if not torch.cuda.is_available():
        return ""
    capability, architectures = torch.cuda.get_device_capability(index), build_info()["cuda_architectures"]
    if not _lacks(capability, architectures):
        return ""
    wanted = "{}.{}".format(*capability)
    return (
        f"the CUDA kernels are built for compute capability {architectures} and this GPU has {wanted}. Rebuild them: "
        f'TORCH_CUDA_ARCH_LIST="{wanted}" {_rebuild_command()}'
    )


def default_device() -> torch.device:
    """The device to use where none is asked for: a GPU that this installation has kernels for, else the CPU."""
    usable = torch.cuda.is_available() and not cuda_error and not cuda_device_error(torch.cuda.current_device())
    return torch.device("cuda" if usable else "cpu")


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster than float32, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    known: dict[str, bool] = {} if capabilities is None else capabilities()
    fast = device.type == "cpu" and any(known.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if fast else torch.float32
