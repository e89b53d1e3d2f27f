"""`cnnfast segment`: train, predict, eval, and what they refuse."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
import torch

from tests.cli.picture_cases import Run, size_of

pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")
pytest.importorskip("pycocotools")

from pycocotools.coco import COCO

from cnnfast.detection.data import SyntheticInstances
from cnnfast.detection.metrics import encode_masks
from cnnfast.images import load_image, save_image
from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model
from cnnfast.models.instance_segmentation.model_files import load_model, save_model

SIDE = 48
STEPS = 4
CLASSES = ("ellipse", "rectangle", "star")
SYNTHETIC = ("synthetic", "--pictures", 4, "--side", SIDE, "--objects", 1)
TRAIN = ("segment", "train", *SYNTHETIC, "--steps", STEPS, "--batch", 1, "--workers", 0, "--optimizer", "adamw")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A model file, of a network that finds something everywhere."""
    torch.manual_seed(0)
    settings = ModelSettings("maskrcnn-omn", "small", 4, R=5, K=3, min_size=SIDE, max_size=SIDE)
    network = build_model(settings)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(network, path, settings, CLASSES, category_ids=[3, 5, 8])
    return path


@pytest.fixture
def model(trained, tmp_path) -> Path:
    (tmp_path / "model.pt").write_bytes(trained.read_bytes())
    return tmp_path / "model.pt"


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    data = SyntheticInstances(2, size=SIDE)
    save_image(data[0][0], folder / "a.png")
    save_image(data[1][0][:, :40], folder / "more" / "b.jpg")
    return folder


@pytest.fixture
def coco(tmp_path) -> tuple[Path, Path]:
    """A data set in COCO's format: folder of pictures and file of annotations."""
    folder, data = tmp_path / "coco", SyntheticInstances(3, size=SIDE)
    folder.mkdir()
    images, annotations = [], []
    for index in range(3):
        picture, target = data[index]
        save_image(picture, folder / f"{index}.png")
        images.append({"id": index + 1, "file_name": f"{index}.png", "height": SIDE, "width": SIDE})
        for run, label in zip(encode_masks(target["masks"].bool()), target["labels"].tolist(), strict=True):
            number = len(annotations) + 1
            entry = {"id": number, "image_id": index + 1, "category_id": (3, 5, 8)[label - 1], "segmentation": run}
            annotations.append(entry | {"iscrowd": 0})
    categories = [{"id": number, "name": name} for number, name in zip((3, 5, 8), CLASSES, strict=True)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return folder, tmp_path / "coco.json"


def history(name: str) -> list[float]:
    return [entry["loss"] for entry in json.loads(Path(name).read_text())["history"]]


class TestTrain:
    def test_files(self, cnnfast):
        extra = ("--history", "loss.json", "--plot", "loss.png", "--log", "log", "--truncation", 5, "--bins", 3)
        result = cnnfast(*TRAIN, "-o", "model.pt", *extra, "--steps", 10)
        assert result.status == 0 and not result.err, result
        lines = result.out.splitlines()
        assert "maskrcnn-omn on small; 4 pictures, 3 classes; 10 steps of 1 pictures" in lines[0]
        assert "mask bins" in lines[1] and lines[-1].startswith("model.pt: ")
        written = load_model("model.pt")
        assert written.classes == CLASSES and (written.settings.R, written.settings.K) == (5, 3)
        assert len(history("loss.json")) == 10 and Path("loss.png").stat().st_size > 1000
        assert len(list(Path("log").rglob("metrics.csv"))) == 1

    def test_coco_and_start_from_a_model(self, cnnfast, coco, model):
        folder, annotations = coco
        words = ("--annotations", annotations, "--steps", 1, "--batch", 1, "--workers", 0, "--min-size", SIDE)
        options = ("--backbone", "small", "--max-size", SIDE, "--weights", model, "--truncation", 5, "--bins", 3)
        result = cnnfast("segment", "train", folder, *words, *options, "-o", "new.pt")
        assert result.status == 0 and "3 pictures, 3 classes" in result.out, result
        assert load_model("new.pt").category_ids == (3, 5, 8)

    def test_ctrl_c_and_resume(self, cnnfast, monkeypatch):
        assert cnnfast(*TRAIN, "-o", "whole.pt", "--history", "whole.json").status == 0

        def stop(self, done, text):
            if done == 1:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("cnnfast.cli.base.steps.StepReporter.update", stop)
        result = cnnfast(*TRAIN, "-o", "out.pt")
        assert result.status == 130 and "stopped at step 2" in result.out
        assert result.out.splitlines()[-1].endswith("continue with --resume out.checkpoint.pt")
        monkeypatch.setattr("cnnfast.cli.base.steps.StepReporter.update", lambda self, done, text: None)
        assert cnnfast(*TRAIN, "-o", "out.pt", "--resume", "out.checkpoint.pt", "--history", "rest.json").status == 0
        assert history("whole.json")[2:] == history("rest.json")
        assert Path("out.pt").read_bytes() == Path("whole.pt").read_bytes()

    def test_ctrl_c_before_the_first_step(self, cnnfast, monkeypatch):
        monkeypatch.setattr(
            "cnnfast.models.instance_segmentation.training_step.SegmentationTraining.terms",
            lambda *_: signal.raise_signal(signal.SIGINT),
        )
        result = cnnfast(*TRAIN, "-o", "out.pt")
        assert result.status == 130 and "nothing was written" in result.err and not Path("out.pt").exists()

    def test_second_ctrl_c_stops_at_once(self, cnnfast, monkeypatch):
        def stop_twice(self, done, text):
            if done == 3:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                pytest.fail("went on")

        monkeypatch.setattr("cnnfast.cli.base.steps.StepReporter.update", stop_twice)
        before = signal.getsignal(signal.SIGINT)
        result = cnnfast(*TRAIN, "-o", "out.pt", "--checkpoint-every", 2)
        assert result.status == 130 and result.err.count("\n") == 1 and "stopped at once after step 3" in result.err
        assert load_model("out.pt").training["steps"] == 2 and Path("out.checkpoint.pt").exists()
        assert signal.getsignal(signal.SIGINT) is before

    @pytest.mark.slow
    def test_kill_9_then_resume_gives_the_same_curve(self, cnnfast, environment, tmp_path):
        words = [*TRAIN, "--checkpoint", "run.pt", "--checkpoint-every", 1]
        words[words.index("--steps") + 1] = 12
        assert cnnfast(*words, "-o", "whole.pt", "--history", "whole.json").status == 0
        (tmp_path / "run.pt").unlink()
        run = Run(environment, tmp_path, *words, "-o", "out.pt")
        status, _, _ = run.stop(signal.SIGKILL, tmp_path / "run.pt")
        assert status == -signal.SIGKILL
        assert load_model("out.pt").classes == CLASSES  # whole
        assert cnnfast(*words, "-o", "out.pt", "--resume", "run.pt", "--history", "rest.json").status == 0
        rest = history("rest.json")
        assert 1 <= len(rest) < 12 and history("whole.json")[-len(rest) :] == pytest.approx(rest, rel=1e-5)

    @pytest.mark.slow
    def test_two_processes(self, environment, tmp_path, cnnfast):
        words = [*TRAIN, "--device", "cpu", "--devices", 2, "-o", "two.pt", "--history", "two.json"]
        run = Run(environment, tmp_path, *words)
        out, err = run.process.communicate(timeout=300)
        # torch.distributed warns there of its own accord.
        assert run.process.returncode == 0 and "Traceback" not in err and "cnnfast:" not in err, (out, err)
        assert "4 steps of 1 pictures on each of 2 processes" in out and out.count("\n") == STEPS + 2  # one talks
        assert load_model("two.pt").training["batch"] == 2 and len(history("two.json")) == STEPS

    @pytest.mark.parametrize(
        "options, text",
        [
            (["--steps", 0], "--steps: expected at least 1"),
            (["--batch", 0], "--batch: expected at least 1"),
            (["--pictures", 0], "--pictures: expected at least 1"),
            (["--side", 8], "size of at least 32, got 8"),
            (["--format", "kitti"], "--format: expected auto or coco"),
            (["--model", "yolo"], "expected kind maskrcnn-omn"),
            (["--backbone", "vgg16"], "expected backbone"),
            (["--bins", 20], "expected 1 <= K <= R"),
            (["--model", "mnc", "--stages", 4], "expected stages 3 or 5"),
            (["--optimizer", "lion"], "expected optimizer sgd or adamw"),
            (["--schedule", "poly"], "expected schedule step"),
            (["--lr", 0], "expected a positive lr"),
            (["--dtype", "float16"], "--dtype: expected auto"),
            (["--weights", "none.pt"], "none.pt which does not exist"),
            (["--weights", "other.pt"], "got none for backbone"),
            (["--resume", "text.pt"], "expected a checkpoint of its own, got text.pt"),
            (["--resume", "none.pt"], "none.pt"),
            (["-o", "model.bin"], "expected a path ending in .pt"),
            (["-o", "none/model.pt"], "none/model.pt: expected a file that can be written"),
            (["-o", "other.pt", "--history", "other.pt"], "not also another file"),
        ],
    )
    def test_refused(self, cnnfast, tmp_path, options, text):
        torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pt")
        (tmp_path / "text.pt").write_text("no checkpoint")
        before = sorted(path.name for path in tmp_path.iterdir())
        result = cnnfast(*TRAIN, *([] if "-o" in options else ["-o", "model.pt"]), *options)
        assert result.status == 2 and result.err.count("\n") == 1 and text in result.err, result
        assert sorted(path.name for path in tmp_path.iterdir()) == before


BROKEN = {
    "no JSON": ("{", "expected JSON"),
    "a list": ("[]", "list of images, got none"),
    "without annotations": ('{"images": [], "categories": []}', "list of annotations, got none"),
    "empty": ("", "expected JSON"),
    "no picture": ('{"images": [], "annotations": [], "categories": []}', "expected at least one picture, got none"),
}


class TestBadData:
    @pytest.mark.parametrize("case", BROKEN)
    def test_annotations(self, cnnfast, coco, model, case):
        folder, annotations = coco
        annotations.write_text(BROKEN[case][0])
        for words in (("train", folder, "-o", "new.pt", "--workers", 0), ("eval", model, folder)):
            result = cnnfast("segment", *words, "--annotations", annotations)
            assert result.status == 2 and result.err.count("\n") == 1 and BROKEN[case][1] in result.err, result
        assert not Path("new.pt").exists()

    @pytest.mark.parametrize("what", ["missing", "empty", "damaged"])
    def test_pictures(self, cnnfast, coco, model, what):
        folder, annotations = coco
        for path in folder.iterdir():
            if what == "missing":
                path.unlink()
            else:
                path.write_bytes(b"" if what == "empty" else path.read_bytes()[:60])
        words = ("--backbone", "small", "--workers", 0, "-o", "new.pt")
        result = cnnfast("segment", "train", folder, "--annotations", annotations, *words)
        assert result.status == 2 and result.err.count("\n") == 1 and "can be read, got none" in result.err, result
        assert not Path("new.pt").exists()
        result = cnnfast("segment", "eval", model, folder, "--annotations", annotations)
        assert result.status == 2 and result.err.count("skipped: ") == 3 and "and measured, got none" in result.err

    def test_one_damaged_picture_is_named(self, cnnfast, coco, model):
        folder, annotations = coco
        (folder / "1.png").write_text("no picture")
        result = cnnfast("segment", "eval", model, folder, "--annotations", annotations)
        assert result.status == 2 and result.err.count("\n") == 1 and "1.png" in result.err and "AP^r 0.5" in result.out

    def test_one_picture_too_narrow_is_named(self, cnnfast, coco, model, tmp_path):
        folder, annotations = coco
        save_image(torch.rand(3, 1, 3000), folder / "1.png")
        content = json.loads(annotations.read_text())
        content["images"][1].update(height=1, width=3000)
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] != 2]
        annotations.write_text(json.dumps(content))
        words = "1.png: .* got 3000x1 px"
        result = cnnfast("segment", "eval", model, folder, "--annotations", annotations)
        assert result.status == 2 and re.search(words, result.err) and "AP^r 0.5" in result.out
        result = cnnfast("segment", "predict", model, folder, "-o", tmp_path / "drawn")
        assert result.status == 2 and re.search(words, result.err) and "2 of 3 pictures" in result.out
        options = ("--backbone", "small", "--workers", 0, "--max-size", 60, "--min-size", 48, "--steps", 3)
        result = cnnfast("segment", "train", folder, "--annotations", annotations, "-o", "new.pt", *options)
        assert result.status == 0 and re.search(words, result.err) and Path("new.pt").exists()

    def test_folders(self, cnnfast, model, tmp_path):
        (tmp_path / "nothing").mkdir()
        for name, text in (("none", "got no folder"), ("nothing", "got a folder of none of them")):
            result = cnnfast("segment", "eval", model, name)
            assert result.status == 2 and result.err.count("\n") == 1 and text in result.err, result


class TestPredict:
    def test_one_picture(self, cnnfast, model, pictures):
        words = ("--json", "out.json", "--score", 0.0, "--max-detections", 7)
        result = cnnfast("segment", "predict", model, pictures / "a.png", "-o", "out.png", *words)
        assert result.status == 0 and not result.err, result
        assert size_of("out.png") == (SIDE, SIDE)
        assert (load_image("out.png") != load_image(pictures / "a.png")).any()
        found = COCO("out.json")
        assert found.imgs[1]["file_name"] == (pictures / "a.png").as_posix() and len(found.anns) <= 7
        assert {entry["id"] for entry in found.dataset["categories"]} == {3, 5, 8}
        assert result.out.splitlines()[-1] == f"out.json: {len(found.anns)} objects" or len(found.anns) < 7

    def test_folder(self, cnnfast, model, pictures):
        (pictures / "bad.png").write_text("no picture")
        result = cnnfast("segment", "predict", model, pictures, "-o", "out", "--json", "out.json")
        assert result.status == 2 and result.err.count("\n") == 1 and "bad.png" in result.err
        assert "2 of 3 pictures" in result.out
        assert size_of("out/more/b.jpg") == (SIDE, 40) and size_of("out/a.png") == (SIDE, SIDE)
        assert [entry["width"] for entry in json.loads(Path("out.json").read_text())["images"]] == [SIDE, SIDE]

    def test_decoding_changes_the_masks(self, cnnfast, model, pictures):
        for decode in ("soft", "hard"):
            words = ("--json", f"{decode}.json", "--score", 0.0, "--decode", decode)
            assert cnnfast("segment", "predict", model, pictures / "a.png", "-o", "out.png", *words).status == 0
        assert Path("soft.json").read_text() != Path("hard.json").read_text()

    def test_ctrl_c_keeps_what_is_done(self, cnnfast, model, pictures, monkeypatch):
        def stop(self, done, text):
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("cnnfast.cli.base.steps.StepReporter.update", stop)
        # A shell that runs the tests in the background has Ctrl-C ignored.
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            result = cnnfast("segment", "predict", model, pictures, "-o", "out", "--json", "out.json")
        finally:
            signal.signal(signal.SIGINT, previous)
        assert result.status == 130 and "1 of 2 pictures are written" in result.err
        assert len(json.loads(Path("out.json").read_text())["images"]) == 1

    @pytest.mark.parametrize(
        "words, text",
        [
            (["none.pt", "a.png", "-o", "out.png"], "none.pt which does not exist"),
            (["other.pt", "a.png", "-o", "out.png"], "a file that does not say it is one"),
            (["text.pt", "a.png", "-o", "out.png"], "is damaged or holds objects other than tensors"),
            (["model.pt", "none.png", "-o", "out.png"], "none.png which does not exist"),
            (["model.pt", "text.png", "-o", "out.png"], "text.png which is of no known kind"),
            (["model.pt", "empty.png", "-o", "out.png"], "empty.png which is empty"),
            (["model.pt", "a.png", "-o", "a.png"], "not also an input"),
            (["model.pt", "a.png", "-o", "a.png/out.png"], "expected a folder that can be made"),
            (["model.pt", "a.png", "-o", "out.xyz"], "expected a path ending in .png"),
            (["model.pt", "a.png", "-o", "out.png", "--json", "model.pt"], "not also another file"),
            (["model.pt", "a.png", "-o", "out.png", "--json", "out.png"], "not also another file"),
            (["model.pt", "a.png", "-o", "out.png", "--json", "none/a.json"], "expected a file that can be written"),
            (["model.pt", "a.png", "-o", "out.png", "--score", "2"], "--score: expected a number of 0..1"),
            (["model.pt", "a.png", "-o", "out.png", "--decode", "best"], 'expected decode one of "soft"'),
            (["model.pt", "a.png", "-o", "out.png", "--max-detections", "0"], "--max-detections: expected at least 1"),
        ],
    )
    def test_refused(self, cnnfast, model, tmp_path, words, text):
        torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pt")
        for name in ("text.pt", "text.png"):
            (tmp_path / name).write_text("neither picture nor network")
        (tmp_path / "empty.png").touch()
        save_image(torch.rand(3, 9, 9), tmp_path / "a.png")
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        result = cnnfast("segment", "predict", *words)
        assert result.status == 2 and result.err.count("\n") == 1 and text in result.err, result
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class TestEval:
    def test_synthetic(self, cnnfast, model):
        words = ("--results", "results.json", "--measures", "measures.json", "--max-detections", 5)
        result = cnnfast("segment", "eval", model, *SYNTHETIC, *words)
        assert result.status == 0 and not result.err, result
        for name in ("AP^r 0.5 ", "AP^r 0.7 ", "AP ", "AP50 ", "AR@1 ", "AR@100 "):
            assert any(line.startswith(name) for line in result.out.splitlines()), name
        record = json.loads(Path("measures.json").read_text())
        assert record["pictures"] == 4 and set(record["classes"]) <= set(CLASSES) and "AP" in record["measures"]
        results = json.loads(Path("results.json").read_text())
        assert {entry["category_id"] for entry in results} <= {3, 5, 8}

    def test_coco_results_belong_to_the_annotations(self, cnnfast, model, coco):
        folder, annotations = coco
        words = ("--annotations", annotations, "--results", "results.json", "--decode", "hard", "--limit", 2)
        result = cnnfast("segment", "eval", model, folder, *words)
        assert result.status == 0 and "; 2 pictures; 3 classes" in result.out, result
        if json.loads(Path("results.json").read_text()):
            assert set(COCO(str(annotations)).loadRes("results.json").getImgIds()) == {1, 2, 3}

    def test_other_classes(self, cnnfast, coco, model):
        folder, annotations = coco
        annotations.write_text(annotations.read_text().replace("star", "cat"))
        result = cnnfast("segment", "eval", model, folder, "--annotations", annotations)
        assert result.status == 2 and "(ellipse, rectangle, star), got ellipse, rectangle, cat" in result.err, result

    @pytest.mark.parametrize(
        "options, text",
        [
            (["--limit", 0], "--limit: expected at least 1"),
            (["--mask-threshold", -1], "--mask-threshold: expected a number"),
            (["--results", "model.pt"], "not also another file"),
            (["--results", "a.json", "--measures", "a.json"], "not also another file"),
            (["--annotations", "a.json", "--format", "voc"], "expected it with --format coco alone"),
            (["--format", "coco"], "--annotations: expected the JSON file"),
        ],
    )
    def test_refused(self, cnnfast, model, options, text):
        before = model.read_bytes()
        result = cnnfast("segment", "eval", model, *SYNTHETIC, *options)
        assert result.status == 2 and result.err.count("\n") == 1 and text in result.err, result
        assert model.read_bytes() == before
