"""Fused operators: drop-in functions with CPU kernels, gradients of any order, and twins in ``cnnfast.reference``."""

from typing import TYPE_CHECKING, Any

from cnnfast._families import public_functions

_functions = public_functions(__name__, __path__)
globals().update(_functions)
__all__ = list(_functions)

if TYPE_CHECKING:  # for type checkers and editors, which cannot find the modules; a family without a line here is Any
    from cnnfast.ops.discs import *  # noqa: F403
    from cnnfast.ops.distance import *  # noqa: F403
    from cnnfast.ops.gram import *  # noqa: F403

    def __getattr__(name: str) -> Any: ...
