"""``cnnfast segment eval``: how well a network finds the objects of a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cnnfast._errors import InputError
from cnnfast._json import write_json
from cnnfast._options import option
from cnnfast.cli.base.errors import user_input
from cnnfast.cli.base.options import DeviceOptions
from cnnfast.cli.base.parsing import check_output, check_share, describe_device, parse_device
from cnnfast.cli.base.progress import WorkConsole
from cnnfast.cli.base.steps import StepReporter
from cnnfast.cli.segment.data import CITYSCAPES, DataOptions, classes_of, open_data
from cnnfast.cli.segment.options import MaskOptions, ModelFile
from cnnfast.detection.data import InstanceDataset
from cnnfast.detection.evaluation import Evaluation, evaluate
from cnnfast.models.instance_segmentation.architectures import CLASSLESS
from cnnfast.models.instance_segmentation.model_files import SegmentationModel, load_model
from cnnfast.models.instance_segmentation.object_masks.decoding import choose_decoding


@dataclass(kw_only=True)
class Options(DeviceOptions, MaskOptions, DataOptions, ModelFile):
    """Of the command; see `cnnfast._options`."""

    split: str = option("part of the data set, as train or val", default="val")
    pictures: int = option("number of synthetic pictures", default=64, minimum=1)
    limit: int | None = option("only the first so many pictures", default=None, minimum=1, after="objects")
    results: Path | None = option(
        "write the detections as COCO's file of results", default=None, after="max_detections"
    )
    measures: Path | None = option("write the measures as JSON", default=None)


def run(options: Options) -> int:
    """Measures the network, prints the measures, writes the files; returns the exit status."""
    with user_input():
        check_options(options)
        device = parse_device(options.device)
        model = load_model(options.model)
        data = open_data(options, evaluation=True)
        check_classes(options, model, data)
        if options.decode is not None:
            choose_decoding(model.network, options.decode)
    model.network.to(device)
    classless = model.settings.kind in CLASSLESS
    count = len(data) if options.limit is None else min(options.limit, len(data))
    console = WorkConsole()
    names = f"{len(model.classes)} classes" if len(model.classes) > 1 else model.classes[0]
    console.print(f"{describe_device(device)}; {model.settings.kind}; {count} pictures; {names}", markup=False)
    with StepReporter(count, "pictures", console) as reporter:
        evaluation = evaluate(
            model.network,
            data,
            classless=classless,
            category_ids=dict(enumerate(model.category_ids, 1)),
            cityscapes=options.kind == CITYSCAPES and not classless,
            mask_threshold=options.mask_threshold,
            max_detections=options.max_detections,
            limit=options.limit,
            callback=lambda done, _: reporter.update(done, "measured"),
        )
    _report(options, model, evaluation, data, console)
    return 2 if evaluation.skipped else 0


def check_options(options: Options) -> None:
    """Everything that can be wrong without opening a file.

    Raises:
        InputError: names the option, what it wants and what it got.
    """
    check_share("--mask-threshold", options.mask_threshold)
    written = [path for path in (options.results, options.measures) if path is not None]
    for index, path in enumerate(written):
        check_output(path, inputs=[options.model, *options.inputs], others=written[:index])


def check_classes(options: Options, model: SegmentationModel, data: InstanceDataset) -> None:
    """Refuse a data set of other classes than the network's.

    Raises:
        InputError: names both.
    """
    names, _ = classes_of(data, model.settings.kind)
    if tuple(names) != model.classes:
        own, other = (", ".join(list(part)[:4]) + (" ..." if len(part) > 4 else "") for part in (model.classes, names))
        raise InputError(f"{options.data}: expected the classes of {options.model} ({own}), got {other}")


def _report(
    options: Options, model: SegmentationModel, evaluation: Evaluation, data: InstanceDataset, console: Console
) -> None:
    measures = evaluation.compute()
    for name, value in measures.items():
        console.print(f"{name:<15} {_number(value)}", markup=False)
    by_class = {model.classes[label - 1]: value for label, value in evaluation.per_class().items()}
    if len(by_class) > 1:
        listed = ", ".join(f"{name} {_number(value)}" for name, value in by_class.items())
        console.print(f"AP^r 0.5 of classes: {listed}", markup=False)
    if data.left_out:
        console.print(f"not measured: {len(data.left_out)} faults of the annotations, named above", markup=False)
    if options.results is not None:
        write_json(options.results, evaluation.results)
    if options.measures is not None:
        finite = {name: None if math.isnan(value) else value for name, value in measures.items()}
        facts = {"model": str(options.model), "data": options.data, "pictures": evaluation.pictures}
        write_json(
            options.measures,
            {
                **facts,
                "skipped": evaluation.skipped,
                "left_out": data.left_out,
                "measures": finite,
                "classes": by_class,
            },
        )


def _number(value: float) -> str:
    return "none to find" if math.isnan(value) else f"{value:.3f}"
