"""Texture synthesis and style transfer by matching Gram matrices of network features.

``picture`` optimises a picture by losses over features, ``texture`` and ``transfer`` synthesise textures and transfer
styles with it, ``feed_forward`` trains and applies networks that do it in a single pass. They are imported on first
use, as are their functions ``synthesize_texture``, ``stylize``, ``print_progress``, ``train_fast_style`` and
``apply_style``.

Example:
    >>> from cnnfast.models.style import stylize
    >>> stylize.__module__
    'cnnfast.models.style.transfer.transfer'
"""

from __future__ import annotations

from cnnfast._rooms import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {room: f".{room}" for room in ("feed_forward", "picture", "texture", "transfer")},
    {
        "apply_style": ".feed_forward.apply",
        "print_progress": ".picture.printing",
        "stylize": ".transfer.transfer",
        "synthesize_texture": ".texture.synthesis",
        "train_fast_style": ".feed_forward.training",
    },
)
