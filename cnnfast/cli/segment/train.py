"""``cnnfast segment train``: a network that finds objects and their masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnnfast._options import option
from cnnfast.cli.base.errors import user_input
from cnnfast.cli.base.parsing import describe_device, parse_device
from cnnfast.cli.base.training import TrainingCommand, Watch, check_training, run_training
from cnnfast.cli.segment.data import SYNTHETIC, DataOptions, classes_of, open_data
from cnnfast.models.instance_segmentation.architectures import ModelSettings, default_sizes
from cnnfast.models.instance_segmentation.model_files import check_model_path
from cnnfast.models.instance_segmentation.training import Recipe, SegmentationOptions, train_segmentation

_SHOWN = ("loss_mask", "loss_mask_bins")


@dataclass(kw_only=True)
class Options(SegmentationOptions, TrainingCommand, DataOptions):
    """Of the command; see `cnnfast._options`."""

    out: Path = option("network to write: .pt or .safetensors", "-o", "--output", after="data")
    model: str = option(
        "maskrcnn-omn or maskrcnn (Mask R-CNN with object masks, or its own), rpn-omn (segment proposals), mnc-omn or "
        "mnc (cascades)",
        default=ModelSettings.kind,
        after="objects",
    )
    backbone: str = option(
        "small, resnet18-fpn, resnet50-fpn; for cascades also resnet50-c4, vgg16; default: small for synthetic "
        "pictures, else resnet50-fpn",
        default="auto",
    )
    weights: Path | None = option(
        "file to start from: torchvision's ResNet, VGG-16 or Mask R-CNN, or a network of ours", default=None
    )
    preprocessing: str = option(
        "input convention of a VGG-16, as torchvision or caffe; default: the cascade's own",
        default=ModelSettings.preprocessing,
    )
    frozen: bool | None = option(
        "keep batch norms and the first stages of the backbone as they are; default: with --weights", default=None
    )
    truncation: int = option("R: largest distance of object masks, in cells", default=ModelSettings.R)
    bins: int = option("K: bins of the distances of object masks", default=ModelSettings.K)
    stages: int = option("3 or 5, of cascades", default=ModelSettings.stages)
    min_size: int | None = option(
        "short side of pictures becomes this many px; default: 800, cascades 600, synthetic: as is",
        default=None,
        minimum=1,
    )
    max_size: int | None = option(
        "unless the long side exceeds this many; default: 1333, cascades 1000", default=None, minimum=1
    )
    optimizer: str = option("sgd or adamw", default=Recipe.optimizer, after="batch_size")
    lr: float | None = option("learning rate; default: 0.00125 a picture (sgd), 0.0002 (adamw)", default=Recipe.lr)
    weight_decay: float = option("of weights, not of biases and norms", default=Recipe.weight_decay)
    schedule: str = option(
        "of the learning rate: step (a tenth after 80 % and 95 % of steps), cosine, constant",
        default=Recipe.schedule,
    )
    warmup: int = option("steps over which the learning rate rises", default=Recipe.warmup)
    flip: bool = option("mirror half of the pictures", default=Recipe.flip)

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
    with user_input():
        check_options(options)
        device = parse_device(options.device)
        data = open_data(options)
        classes, numbers = classes_of(data, options.model)
        settings = options.settings(len(classes))
    steps = options.steps_for(len(data))
    description = (
        f"{describe_device(device)}; {settings.kind} on {settings.backbone}; {len(data)} pictures, "
        f"{len(classes)} classes; {steps} steps of {options.batch_size} pictures{options.share}"
    )

    def train(watch: Watch) -> None:
        train_segmentation(
            data,
            settings,
            classes,
            category_ids=numbers,
            weights=options.weights,
            recipe=options.recipe,
            callback=watch,
            **options.training_arguments(SegmentationOptions, device),
        )

    return run_training(options, description, steps, train, terms=_SHOWN)


def check_options(options: Options) -> None:
    """Everything that can be wrong without opening a file.

    Raises:
        ValueError: names the option, what it wants and what it got.
        ImportError: the plot needs matplotlib.
    """
    options.check("train_segmentation")
    _ = options.recipe, options.settings(1)
    check_model_path(options.out)
    inputs = [*options.inputs, *([] if options.weights is None else [options.weights])]
    check_training(options, inputs)
