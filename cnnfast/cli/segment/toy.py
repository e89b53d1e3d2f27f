"""``cnnfast segment toy``: boundary-aware masks against masks in the box, learnt in a minute each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cnnfast._rooms import import_room
from cnnfast.cli.base.options import Device, Picture


def toy(
    output: Picture = Path("toy.png"),
    seed: Annotated[int, typer.Option(help="of the first run")] = 0,
    runs: Annotated[int, typer.Option(help="with different seeds")] = 1,
    steps: Annotated[int, typer.Option(help="of each training")] = 1000,
    examples: Annotated[int, typer.Option(help="rows of the picture")] = 6,
    results: Annotated[Path | None, typer.Option(help="write the table as JSON, too")] = None,
    device: Device = "cpu",
) -> int:
    """Train small networks on synthetic shapes in boxes that miss parts of them, and compare their masks.

    A binary mask in the box, an object mask network on the same features, and, as a control, a binary mask in the
    larger window that the object mask network fills. Prints a table and writes a picture with examples.
    """
    words = dict(locals())
    room = import_room("cnnfast.cli.segment.toy_run")
    try:
        status: int = room.run(room.Options(**words))
    except KeyboardInterrupt:
        print("cnnfast: stopped, nothing was written", file=sys.stderr)
        return 130
    return status
