"""The commands under one roof, and how their errors end."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from cnnfast.cli import info, weights
from cnnfast.cli.segment import app as segment
from cnnfast.cli.style import feed_forward as fast_style
from cnnfast.cli.style import texture
from cnnfast.cli.style import transfer as style

_DEBUG = "--debug"
# What wrong calls, wrong inputs, missing packages and full disks or memories raise. Anything else is our own fault.
_EXPECTED = (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError)

app = typer.Typer(
    help="Systems of convolutional networks from the command line. Errors are one line; --debug shows the traceback.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(texture.texture)
app.command()(style.style)
app.add_typer(fast_style.app, name="fast-style")
app.add_typer(segment.app, name="segment")
app.command()(info.info)
app.add_typer(weights.app, name="weights")


def run(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit status."""
    debug = _DEBUG in argv
    arguments = [argument for argument in argv if argument != _DEBUG] or ["--help"]
    try:
        with _log_to_stderr():
            return typer.main.get_command(app).main(arguments, prog_name="cnnfast", standalone_mode=False) or 0
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; without this the interpreter complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        if hasattr(error, "format_message"):  # typer's own errors: an unknown option, a missing argument
            return _report(error.format_message(), 2)
        if isinstance(error, _EXPECTED):
            return _report(_describe(error), 2)
        return _report(f"{type(error).__name__}: {error} (a fault of cnnfast; {_DEBUG} shows where)", 1)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


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
