"""The operators of `cnnfast.ops` in plain PyTorch: same names, same signatures, any device, any order of derivative."""

from typing import TYPE_CHECKING, Any

from cnnfast._families import public_functions

_functions = public_functions(__name__, __path__)
globals().update(_functions)
__all__ = list(_functions)

if TYPE_CHECKING:  # for type checkers and editors, which cannot find the modules; a family without a line here is Any
    from cnnfast.reference.discs import *  # noqa: F403
    from cnnfast.reference.distance import *  # noqa: F403
    from cnnfast.reference.gram import *  # noqa: F403

    def __getattr__(name: str) -> Any: ...
