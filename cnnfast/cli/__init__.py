"""The command ``cnnfast``: textures, style transfer, instance segmentation, weights, and what a bug report needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cnnfast._errors import MissingPackageError
from cnnfast._rooms import import_room


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        Exit status: 0 done, 1 a fault of the program, 2 a wrong call or input, 130 stopped by Ctrl-C or SIGTERM. A
        wrong call or input is one line on stderr, with ``--debug`` after a traceback, which a fault always has.

    Example:
        >>> from cnnfast.cli import main
        >>> main(["weights", "convert", "no.pth", "no.safetensors"])
        2
    """
    try:
        app = import_room("cnnfast.cli.app")
    except MissingPackageError as error:
        print(f"cnnfast: {error}", file=sys.stderr)
        return 2
    status: int = app.run(sys.argv[1:] if argv is None else argv)
    return status
