"""What ``cnnfast segment train`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnfast.cli.base.parsing import describe_device, parse_device
from cnnfast.cli.base.training import TrainingOptions, Watch, check_least, check_training, run_training
from cnnfast.cli.segment.data import SYNTHETIC, DataOptions, open_data
from cnnfast.detection.data import InstanceDataset
from cnnfast.models.instance_segmentation.architectures import CLASSLESS, ModelSettings, default_sizes
from cnnfast.models.instance_segmentation.model_files import check_model_path
from cnnfast.models.instance_segmentation.training import Recipe, train_segmentation

_OBJECT = "object"
_SHOWN = ("loss_mask", "loss_mask_bins")


@dataclass(kw_only=True)
class Options(TrainingOptions, DataOptions):
    """The words of the command line, as typed."""

    model: str
    backbone: str
    weights: Path | None
    preprocessing: str
    frozen: bool | None
    truncation: int
    bins: int
    stages: int
    min_size: int | None
    max_size: int | None
    optimizer: str
    lr: float | None
    weight_decay: float
    schedule: str
    warmup: int
    flip: bool

    @property
    def recipe(self) -> Recipe:
        """Optimiser, learning rate and the like."""
        return Recipe(self.optimizer, self.lr, self.weight_decay, self.schedule, self.warmup, self.flip)

    def settings(self, classes: int) -> ModelSettings:
        """Of the network, for so many classes."""
        synthetic = self.kind == SYNTHETIC
        usual = (self.side, self.side) if synthetic else default_sizes(self.model)
        low = self.min_size or usual[0]
        backbone = self.backbone
        if backbone == "auto":
            backbone = "small" if synthetic else "resnet50-fpn"
        return ModelSettings(
            self.model,
            backbone,
            classes + 1,
            R=self.truncation,
            K=self.bins,
            stages=self.stages,
            min_size=low,
            max_size=self.max_size or max(low, usual[1]),
            frozen=self.weights is not None if self.frozen is None else self.frozen,
            preprocessing=self.preprocessing,
        )


def run(options: Options) -> int:
    """Checks everything, trains, writes the files; returns the exit status."""
    check_options(options)
    device = parse_device(options.device)
    data = open_data(options)
    classes, numbers = classes_of(data, options.model)
    settings = options.settings(len(classes))
    steps = options.steps_for(len(data))
    share = f" on each of {options.processes} processes" if options.processes > 1 else ""
    description = (
        f"{describe_device(device)}; {settings.kind} on {settings.backbone}; {len(data)} pictures, "
        f"{len(classes)} classes; {steps} steps of {options.batch} pictures{share}"
    )

    def train(watch: Watch) -> None:
        train_segmentation(
            data,
            settings,
            classes,
            category_ids=numbers,
            weights=options.weights,
            recipe=options.recipe,
            max_steps=steps,
            device=device,
            callback=watch,
            **options.common(),
        )

    return run_training(options, description, steps, train, terms=_SHOWN)


def classes_of(data: InstanceDataset, kind: str) -> tuple[list[str], list[int]]:
    """Names and numbers of the classes that a kind of network tells apart."""
    if kind in CLASSLESS:
        return [_OBJECT], [1]
    names = list(data.categories)
    numbers: Any = getattr(data, "category_ids", None)
    return names, list(range(1, len(names) + 1)) if numbers is None else list(numbers.values())


def check_options(options: Options) -> None:
    """Everything that can be wrong without opening a file.

    Raises:
        ValueError: names the option, what it wants and what it got.
        ImportError: the plot needs matplotlib.
    """
    check_least(options, ("min_size", "max_size", "pictures"))
    _ = options.recipe, options.settings(1)
    check_model_path(options.output)
    inputs = [*options.inputs, *([] if options.weights is None else [options.weights])]
    check_training(options, inputs)
