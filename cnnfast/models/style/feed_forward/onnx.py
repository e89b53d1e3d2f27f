"""Style networks as ONNX files."""

from __future__ import annotations

import logging
import os
import warnings

import torch
from torch import Tensor, nn

from cnnfast._atomic import atomic_write
from cnnfast._rooms import missing_package
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet


class _PictureToPicture(nn.Module):
    """RGB in [0,1] to RGB in [0,1] of the same size."""

    def __init__(self, network: TransformerNet | JohnsonNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2], image.shape[3]
        multiple, least = self.network.multiple, self.network.minimum_size
        # By index: F.pad refuses to reflect a picture that is smaller than its padding.
        padded = image
        for axis, side in ((2, height), (3, width)):
            wanted = (torch.sym_max(side, least) + multiple - 1) // multiple * multiple
            padded = padded.index_select(axis, _reflected(wanted, side, image.device))
        output = self.network.postprocess(self.network(self.network.preprocess(padded)))
        return output.clamp(0, 1)[:, :, :height, :width]


def _reflected(count: int | torch.SymInt, side: int, device: torch.device) -> Tensor:
    """Indices 0..side-1, and on to `count` mirrored at the edges as often as needed; all 0 where there is one row."""
    index = torch.arange(count, device=device)
    # A tensor, since the exporter knows no remainder of a division by a symbol.
    period = torch.full((1,), 2 * side - 2, dtype=torch.int64, device=device).clamp(min=1)
    place = torch.remainder(index, period)
    return torch.minimum(torch.minimum(place, period - place), torch.full_like(period, side - 1))


def export_onnx(
    network: TransformerNet | JohnsonNet, path: str | os.PathLike[str], *, size: tuple[int, int] | None = None
) -> None:
    """Write a network as ONNX (opset 18) whose one input "image" and one output "styled" are RGB pictures in [0,1].

    The output has the size of the input; batch, height and width are dynamic unless `size` fixes the latter two, which
    some run-times need or optimise better.

    Args:
        network: a `TransformerNet` or `JohnsonNet`.
        path: file to write, ending in .onnx.
        size: (height, width) in px.

    Raises:
        ValueError: another ending, or a size below the network's `minimum_size`.
        OSError: the file cannot be written.
        ImportError: onnx or onnxscript is not installed.

    Example:
        >>> import tempfile
        >>> from cnnfast.models.style.feed_forward.onnx import export_onnx
        >>> from cnnfast.models.style.feed_forward.examples_network import TransformerNet
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_onnx(TransformerNet((4, 6, 8)), f"{folder}/style.onnx")  # doctest: +SKIP
    """
    check_export(network, path, size)
    model = _PictureToPicture(network).eval()
    device = next(network.parameters()).device
    height, width = size or (8 * network.multiple + network.minimum_size, 9 * network.multiple + network.minimum_size)
    shapes: dict[int, object] = {0: torch.export.Dim("batch")}
    if size is None:
        least = network.minimum_size
        shapes |= {2: torch.export.Dim("height", min=least), 3: torch.export.Dim("width", min=least)}
    level = logging.getLogger("torch.onnx").level
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                model,
                (torch.rand(2, 3, height, width, device=device),),
                temporary,
                input_names=["image"],
                output_names=["styled"],
                opset_version=18,
                dynamo=True,
                external_data=False,
                dynamic_shapes={"image": shapes},
                verbose=False,
            )
        finally:
            logging.getLogger("torch.onnx").setLevel(level)


def check_export(
    network: TransformerNet | JohnsonNet, path: str | os.PathLike[str], size: tuple[int, int] | None
) -> None:
    """The checks of `export_onnx`, which a caller can make before other work; raises the same errors."""
    if not str(path).lower().endswith(".onnx"):
        raise ValueError(f"export_onnx: expected a path ending in .onnx, got {os.fspath(path)}")
    if size is not None and min(size) < network.minimum_size:
        raise ValueError(f"export_onnx: expected a size of at least {network.minimum_size} px, got {size}")
    check_onnx()


def check_onnx() -> None:
    """Raises ImportError with the cure when the packages that write ONNX are not installed."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_package("export_onnx", (error.name or "onnx").partition(".")[0]) from error
