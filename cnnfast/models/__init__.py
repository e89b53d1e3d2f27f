"""Vision systems built on the operators, a folder a family. Each is imported on first use.

Example:
    >>> import cnnfast.models
    >>> cnnfast.models.style.stylize.__name__
    'stylize'
"""

from __future__ import annotations

import pkgutil

from cnnfast._rooms import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__, {family.name: f".{family.name}" for family in pkgutil.iter_modules(__path__) if family.ispkg}
)
