"""What is wrong with what the user gave, told apart from faults of this package."""

from __future__ import annotations


class InputError(ValueError):
    """A value, file or option that the user gave is wrong; the message names it, what was expected and what was got.

    Errors of files (`ImageError`, `WeightsError`, `AnnotationError`) are kinds of it. The command line shows it as one
    line with status 2; other exceptions count as faults of the package.
    """
