"""``cnnfast fast-style export``: a trained network as ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnnfast._options import argument, option
from cnnfast.cli.base.errors import user_input
from cnnfast.cli.base.parsing import check_output, parse_size
from cnnfast.models.style.feed_forward.files import load_style_network
from cnnfast.models.style.feed_forward.onnx import check_export, export_onnx


@dataclass(kw_only=True)
class Options:
    """Of the command; see `cnnfast._options`."""

    model: Path = argument("network of the style")
    output: Path = option("file to write, ending in .onnx", "-o", "--output")
    size: str | None = option("fix the size to WIDTHxHEIGHT px; default: any", default=None)


def run(options: Options) -> int:
    """Writes the file; returns the exit status."""
    size = None if options.size is None else parse_size(options.size)
    if isinstance(size, int):
        size = (size, size)
    check_output(options.output, inputs=[options.model])
    with user_input():
        network = load_style_network(options.model).network
        check_export(network, options.output, size)
    export_onnx(network, options.output, size=size)
    print(f"{options.output}: input image [batch,3,height,width], output styled, RGB in [0,1]")
    return 0
