"""``cnnfast segment``: objects of pictures and their masks."""

from __future__ import annotations

from cnnfast.cli.base.commands import build_group

group = build_group(
    "segment",
    "Train networks that find objects and their masks, find them in pictures, and measure how well.",
    {
        "train": (
            "cnnfast.cli.segment.train",
            """Train a network that finds the objects of DATA and their masks.

            Ctrl-C saves the network so far and a checkpoint; --resume goes on as the unbroken training would.""",
        ),
        "predict": (
            "cnnfast.cli.segment.predict",
            """Find the objects of pictures, draw them, and write them as JSON.

            What cannot be read is named and skipped, and the status is 2 in the end.""",
        ),
        "eval": (
            "cnnfast.cli.segment.eval",
            """Print AP^r at 0.5 and 0.7, COCO's AP, and the average recall of a network on DATA.

            What cannot be read is named and skipped, and the status is 2 in the end.""",
        ),
    },
)
