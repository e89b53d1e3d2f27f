"""The commands of textures and style transfer, each with the modules that it needs alone."""

from __future__ import annotations

from cnnfast.cli.base.commands import build_group

COMMANDS = {
    "texture": (
        "cnnfast.cli.style.texture",
        """Synthesise a new picture with the texture of SAMPLE.

        Ctrl-C saves the present picture and a checkpoint; --resume continues from it, to the same picture bit for
        bit.""",
    ),
    "style": (
        "cnnfast.cli.style.transfer",
        """Paint the content of CONTENT in the style of one or more pictures STYLE.

        Ctrl-C saves the present picture and a checkpoint; --resume continues from it, to the same picture bit for
        bit.""",
    ),
}

fast_style = build_group(
    "fast-style",
    "Train a network that gives pictures a style in a single pass, apply it, or export it.",
    {
        "train": (
            "cnnfast.cli.style.train",
            """Train a network that gives pictures the style of STYLE.

            Ctrl-C saves the network so far and a checkpoint; --resume goes on as the unbroken training would.""",
        ),
        "apply": (
            "cnnfast.cli.style.apply",
            """Give pictures, or all pictures of folders, the style of a trained network.

            Pictures keep their size. In a folder they keep their names and places, so the frames of a video stay in
            order. What cannot be read is named and skipped, and the status is 2 in the end.""",
        ),
        "export": (
            "cnnfast.cli.style.export",
            """Write a network as ONNX: RGB pictures in [0,1] of any size in, the same out.""",
        ),
    },
)
