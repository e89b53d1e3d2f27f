"""Words of the command line to values, and the check of output files before any work."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from cnnfast._atomic import check_writable
from cnnfast._checkpoint import check_default_checkpoint
from cnnfast._errors import InputError
from cnnfast._extension import default_device

_LARGEST_SIDE = 10**9 - 1


def parse_size(text: str) -> int | tuple[int, int]:
    """Longest side in px from "512", (height, width) from "640x360", which is width x height.

    Example:
        >>> from cnnfast.cli.base.parsing import parse_size
        >>> parse_size("512"), parse_size("640x360")
        (512, (360, 640))
    """
    match = re.fullmatch(r"([0-9]{1,9})(?:[xX]([0-9]{1,9}))?", text)
    if not match or int(match[1]) == 0 or (match[2] and int(match[2]) == 0):
        raise InputError(f"--size: expected px like 512 or 640x360 (width x height), at least 1, got {text!r}")
    return (int(match[2]), int(match[1])) if match[2] else int(match[1])


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(height, width) times a factor."""
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"--scale: expected a factor above 0, got {scale}")
    if max(size) * scale > _LARGEST_SIDE:
        raise InputError(f"--scale: expected sides of at most {_LARGEST_SIDE} px, got {size[1]}x{size[0]} px x {scale}")
    height, width = (round(side * scale) for side in size)
    if min(height, width) < 1:
        raise InputError(f"--scale: expected at least 1 px of {size[1]}x{size[0]} px to be left, got {scale}")
    return height, width


def parse_crop(text: str, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of "WxH+X+Y" (from the upper left corner), or of "WxH" in the middle, in (height, width).

    Example:
        >>> from cnnfast.cli.base.parsing import parse_crop
        >>> parse_crop("20x10+1+2", (100, 100)), parse_crop("20x10", (100, 100))
        ((slice(2, 12, None), slice(1, 21, None)), (slice(45, 55, None), slice(40, 60, None)))
    """
    match = re.fullmatch(r"([0-9]{1,9})[xX]([0-9]{1,9})(?:\+([0-9]{1,9})\+([0-9]{1,9}))?", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise InputError(f"--crop: expected WxH or WxH+X+Y like 128x128+10+20, at least 1 px, got {text!r}")
    width, height = int(match[1]), int(match[2])
    left = (size[1] - width) // 2 if match[3] is None else int(match[3])
    top = (size[0] - height) // 2 if match[4] is None else int(match[4])
    if left < 0 or top < 0 or left + width > size[1] or top + height > size[0]:
        raise InputError(f"--crop: expected a part of {size[1]}x{size[0]} px, got {text}")
    return slice(top, top + height), slice(left, left + width)


def parse_layers(option: str, text: str) -> dict[str, float]:
    """Layers and their weights from "relu1_1,pool1=0.5"; 1 where none is given.

    Example:
        >>> from cnnfast.cli.base.parsing import parse_layers
        >>> parse_layers("--layers", "relu1_1,pool1=0.5")
        {'relu1_1': 1.0, 'pool1': 0.5}
    """
    layers: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            weight = math.nan
        if not name or not math.isfinite(weight) or weight < 0 or name in layers:
            raise InputError(f"{option}: expected different names like relu1_1,pool1=0.5, got {text!r}")
        layers[name] = weight
    return layers


def parse_numbers(option: str, text: str) -> list[float]:
    """Numbers of at least 0 from "1,2.5".

    Example:
        >>> from cnnfast.cli.base.parsing import parse_numbers
        >>> parse_numbers("--blend", "1,2.5")
        [1.0, 2.5]
    """
    try:
        numbers = [float(piece) for piece in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise InputError(f"{option}: expected numbers of at least 0 like 1,2, got {text!r}")
    return numbers


def parse_device(text: str) -> torch.device:
    """The device that "auto", "cpu", "cuda" or "cuda:1" means, if this machine has it."""
    if text == "auto":
        return default_device()
    match = re.fullmatch(r"cpu|cuda(?::([0-9]{1,3}))?", text)
    if not match:
        raise InputError(f"--device: expected auto, cpu, cuda or cuda:N, got {text!r}")
    if text != "cpu" and int(match[1] or 0) >= torch.cuda.device_count():
        raise InputError(f"--device: expected one of {torch.cuda.device_count()} CUDA devices, got {text}")
    return torch.device(text)


def checkpoint_of(output: Path, named: Path | None) -> Path:
    """The file of checkpoints, named or not.

    Example:
        >>> from cnnfast.cli.base.parsing import checkpoint_of
        >>> checkpoint_of(Path("a/out.png"), None).name
        'out.checkpoint.pt'
    """
    return named or output.with_name(f"{output.stem}.checkpoint.pt")


def check_seed(seed: int) -> None:
    """Raises InputError for a seed that generators do not take."""
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed: expected a number of 0..2^63-1, got {seed}")


def check_share(option: str, value: float) -> None:
    """Raises InputError for what is no number of 0..1."""
    if not 0 <= value <= 1:
        raise InputError(f"{option}: expected a number of 0..1, got {value}")


def check_outputs(
    output: Path, others: Iterable[Path | None], checkpoint: Path | None, *, inputs: Sequence[Path], resume: Path | None
) -> None:
    """Checks all files that a run writes, named or not; its checkpoint may be the one that it is resumed from.

    Raises:
        InputError: as in `check_output`.
    """
    named = [output, *(path for path in others if path is not None)]
    resumed = [] if resume is None else [resume]
    for index, path in enumerate(named):
        check_output(path, inputs=[*inputs, *resumed], others=named[:index])
    if checkpoint is None:
        check_default_checkpoint(checkpoint_of(output, None))
    check_output(checkpoint_of(output, checkpoint), inputs=inputs, others=named)


def describe_device(device: torch.device) -> str:
    """A device, with the GPU's name or the number of threads."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    return f"{device} ({name})"


def check_output(path: Path, *, inputs: Iterable[Path] = (), others: Iterable[Path] = ()) -> None:
    """Find out before the work whether a file can be written, and that it is neither an input nor another output.

    Raises:
        InputError: it is not so; the message says why.
    """
    place = os.path.realpath(path)
    for other in [*inputs, *others]:
        if os.path.realpath(other) == place:
            raise InputError(f"{path}: expected an output that is not also another file of this call, got the same")
    try:
        check_writable(path)
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be written, got: {error.strerror}") from error
