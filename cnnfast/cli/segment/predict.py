"""``cnnfast segment predict``: objects of pictures, drawn and written as COCO JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from cnnfast._options import argument, option
from cnnfast.cli.base.errors import user_input
from cnnfast.cli.base.parsing import check_output, check_share, parse_device
from cnnfast.cli.base.pictures import (
    PictureFormatOptions,
    PictureRunner,
    PicturesOutput,
    Task,
    check_targets,
    find_tasks,
    is_single,
    run_pictures,
)
from cnnfast.cli.base.steps import StepReporter
from cnnfast.cli.segment.options import MaskOptions, ModelFile
from cnnfast.detection.coco_files import CocoPredictions
from cnnfast.detection.drawing import draw_instances
from cnnfast.detection.prediction import predict_instances
from cnnfast.images import save_image
from cnnfast.models.instance_segmentation.model_files import SegmentationModel, load_model
from cnnfast.models.instance_segmentation.object_masks.decoding import choose_decoding


@dataclass(kw_only=True)
class Options(PictureFormatOptions, MaskOptions, PicturesOutput, ModelFile):
    """Of the command; see `cnnfast._options`."""

    inputs: list[str] = argument("pictures, folders of pictures, or patterns like 'photos/*.png'")
    json: Path | None = option(
        "write the objects of all pictures in COCO's format; places are in the picture as it is shown, turned as its "
        "EXIF orientation says",
        default=None,
        after="output",
    )
    score: float = option("objects with a lower one are left out", default=0.5)
    boxes: bool = option("draw the boxes", default=True, after="max_detections")
    captions: bool = option("write classes and scores", default=True)


def run(options: Options) -> int:
    """Finds the objects of every picture, draws and writes them; returns the exit status."""
    with user_input():
        check_share("--score", options.score)
        check_share("--mask-threshold", options.mask_threshold)
        device = parse_device(options.device)
        tasks = find_tasks(options.inputs, options.output, options.ending)
        single = is_single(options.inputs, options.output)
        model = load_model(options.model)
        if options.json is not None:
            sources = [options.model, *(task.source for task in tasks)]
            check_output(options.json, inputs=sources, others=[task.target for task in tasks])
        check_targets(tasks, options.output, [options.model], single=single)
        if options.decode is not None:
            choose_decoding(model.network, options.decode)
    model.network.to(device)
    runner = _Runner(options, model, strict=single)
    status = run_pictures(runner, tasks, options.output, single=single)
    if runner.predictions is not None and options.json is not None:
        runner.predictions.write(options.json)
        print(f"{options.json}: {runner.found} objects")
    return status


class _Runner(PictureRunner):
    """Reads pictures, finds their objects, draws them.

    Attributes:
        found: number of objects so far.
        predictions: the objects, where they are wanted.
    """

    def __init__(self, options: Options, model: SegmentationModel, *, strict: bool) -> None:
        super().__init__(options.alpha, strict=strict)
        self._options, self._model = options, model
        self.found = 0
        self.predictions: CocoPredictions | None = None
        if options.json is not None:
            self.predictions = CocoPredictions(model.classes, model.category_ids)

    def run(self, tasks: Sequence[Task], reporter: StepReporter) -> None:
        """All of them."""
        for task in tasks:
            picture = self.read(task)
            if picture is None:
                continue
            with self.guard(task):
                count = self._find(task, picture)
                reporter.update(self.written + self.skipped, f"{task.source.name}: {count} objects")

    def _find(self, task: Task, picture: Tensor) -> int:
        """Writes a picture with its objects; returns their number."""
        options = self._options
        instances = predict_instances(
            self._model.network,
            picture,
            score_threshold=options.score,
            mask_threshold=options.mask_threshold,
            max_detections=options.max_detections,
        )
        drawn = draw_instances(picture, instances, self._model.classes, boxes=options.boxes, captions=options.captions)
        save_image(drawn, task.target)
        if self.predictions is not None:
            self.predictions.add(task.source.as_posix(), instances, (picture.shape[1], picture.shape[2]))
        count = len(instances["scores"])
        self.found += count
        self.written += 1
        return count
