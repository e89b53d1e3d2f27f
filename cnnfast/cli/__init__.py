"""The command ``cnnfast``: textures, style transfer, instance segmentation, weights, and what a bug report needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_PACKAGES = ("typer", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        Exit status: 0 done, 1 a fault of the program, 2 a wrong call or input, 130 stopped by Ctrl-C or SIGTERM. Errors
        are one line on stderr; ``--debug`` shows the traceback.

    Example:
        >>> from cnnfast.cli import main
        >>> main(["weights", "convert", "no.pth", "no.safetensors"])
        2
    """
    try:
        from cnnfast.cli.app import run
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
            raise
        print(
            f"cnnfast: the command line needs the package {error.name}; install it with: pip install 'cnnfast[cli]'",
            file=sys.stderr,
        )
        return 2
    return run(sys.argv[1:] if argv is None else argv)
