"""Novel views of a scene from one picture: data and metrics.

``scenes`` renders synthetic rooms with exact depth and planes, ``textures`` are what their walls show, ``data`` reads
pairs of views, ``metrics`` compares views. They are imported on first use.

Example:
    >>> import cnnfast.models
    >>> cnnfast.models.view_synthesis.scenes.POSES["full"].yaw
    10.0
"""

from __future__ import annotations

from cnnfast._rooms import lazy_names

__getattr__, __dir__ = lazy_names(__name__, {room: f".{room}" for room in ("data", "metrics", "scenes", "textures")})
