"""``cnnfast weights convert``: weights of any known kind as .safetensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnnfast._options import argument, option
from cnnfast.cli.base.errors import user_input
from cnnfast.cli.base.parsing import check_output
from cnnfast.weights import convert_to_safetensors


@dataclass(kw_only=True)
class Options:
    """Of the command; see `cnnfast._options`."""

    file: Path = argument("VGG weights: .pth, .pt, .safetensors, .h5 or .npz")
    output: Path = argument("file to write, ending in .safetensors")
    preprocessing: str = option(
        "input convention where the file does not tell: caffe, torchvision, caffe_rgb, ...", default="auto"
    )


def run(options: Options) -> int:
    """Writes the file; returns the exit status."""
    check_output(options.output, inputs=[options.file])
    with user_input():  # it reads and checks before it writes
        weights = convert_to_safetensors(options.file, options.output, options.preprocessing)
    print(f"{options.output}: {weights.arch}, input {weights.preprocessing}; {weights.licence}")
    return 0
