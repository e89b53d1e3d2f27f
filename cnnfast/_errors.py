"""Errors that the user can act on, told apart from faults of this package."""

from __future__ import annotations


class ActionableError(Exception):
    """Something that the user can act on; the message is one sentence that says what.

    The command line shows it as one line with status 2. Other exceptions count as faults of the package.
    """


class InputError(ActionableError, ValueError):
    """A value, file or option that the user gave is wrong; the message names it, what was expected and what was got.

    Errors of files (`ImageError`, `WeightsError`, `AnnotationError`) are kinds of it.
    """


class MissingPackageError(ActionableError, ImportError):
    """A package of an extra is not installed; the message has the command that installs it."""


class DeviceError(ActionableError, RuntimeError):
    """The device that was asked for has no kernels in this installation."""


class DivergedError(ActionableError, RuntimeError):
    """A loss became NaN or infinite; other weights or another learning rate are needed."""


class NotSavedError(ActionableError, OSError):
    """The last files of a training cannot be written; the message says why, and what the files hold now."""
