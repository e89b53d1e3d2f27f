"""``cnnfast segment``: objects of pictures and their masks."""

from __future__ import annotations

import typer

from cnnfast.cli.segment import eval as segment_eval
from cnnfast.cli.segment import predict as segment_predict
from cnnfast.cli.segment import toy as segment_toy
from cnnfast.cli.segment import train as segment_train

app = typer.Typer(
    help="Train networks that find objects and their masks, find them in pictures, and measure how well.",
    rich_markup_mode=None,
)
app.command()(segment_train.train)
app.command()(segment_predict.predict)
app.command("eval")(segment_eval.evaluate)
app.command()(segment_toy.toy)
