"""Options that several commands of ``cnnfast segment`` have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnnfast._options import argument, option


@dataclass(kw_only=True)
class ModelFile:
    """The network that a command applies."""

    model: Path = argument("network that `cnnfast segment train` wrote")


@dataclass(kw_only=True)
class MaskOptions:
    """Which objects a network finds, and the form of their masks."""

    mask_threshold: float = option(
        "value of a soft mask of Mask R-CNN from which a pixel is the object's; other models have their own",
        default=0.5,
    )
    decode: str | None = option("object masks: soft, hard or max; default: soft", default=None)
    max_detections: int = option("objects of a picture, the best ones", default=100, minimum=1)
