"""The commands under one roof, and how their errors end."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

import cnnfast
from cnnfast.cli.base.commands import build_group
from cnnfast.cli.base.errors import can_user_act, describe
from cnnfast.cli.segment import app as segment
from cnnfast.cli.style import app as style

_DEBUG = "--debug"

app = build_group(
    "cnnfast",
    "Systems of convolutional networks from the command line. Errors are one line; --debug shows the traceback.",
    {
        **style.COMMANDS,
        "info": (
            "cnnfast.cli.info",
            "Print versions, devices, compiled kernels, weights and threads: copy it into a bug report.",
        ),
        "samples": (
            "cnnfast.cli.samples",
            "Write sample pictures to a folder: what the README's commands work on. Existing files are kept.",
        ),
        "fast-style": style.fast_style,
        "segment": segment.group,
        "weights": build_group(
            "weights",
            "List the VGG weights found on this machine, or convert a file.",
            {
                "list": (
                    "cnnfast.cli.weights.list",
                    "List the VGG weights found on this machine, the preferred one first; nothing is ever downloaded.",
                ),
                "convert": (
                    "cnnfast.cli.weights.convert",
                    "Write weights of any known kind as .safetensors that knows its own input convention.",
                ),
            },
            default="list",
        ),
    },
)


def run(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit status."""
    debug = _DEBUG in argv
    arguments = [argument for argument in argv if argument != _DEBUG] or ["--help"]
    try:
        with _log_to_stderr():
            return app.main(arguments, prog_name="cnnfast", standalone_mode=False) or 0
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; without this the interpreter complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own errors: an unknown option, a missing argument
            users, message = True, error.format_message()
        else:
            users, message = can_user_act(error), describe(error)
        if debug or not users:
            traceback.print_exc()
        if users:
            return _report(message, 2)
        fault = f"{type(error).__name__}: {message}"
        return _report(f"{fault} (a fault of cnnfast {cnnfast.__version__}: please report it with the lines above)", 1)


def _report(message: str, status: int) -> int:
    print("cnnfast:", " ".join(message.split()), file=sys.stderr)
    return status


class _Once(logging.Filter):
    """Lets every message through once, on one line."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = " ".join(record.getMessage().split())
        record.msg, record.args = message, None
        new = message not in self._seen
        self._seen.add(message)
        return new


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Shows the package's log, and nothing of the warnings of other packages, which name their own source lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("cnnfast: %(message)s"))
    handler.addFilter(_Once())
    logger = logging.getLogger("cnnfast")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    logging.captureWarnings(True)
    silent = logging.NullHandler()
    logging.getLogger("py.warnings").addHandler(silent)
    try:
        yield
    finally:
        logging.getLogger("py.warnings").removeHandler(silent)
        logging.captureWarnings(False)
        logger.removeHandler(handler)
        logger.propagate = propagate
