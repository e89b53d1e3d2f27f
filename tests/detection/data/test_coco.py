"""COCO's format: tiny data sets in the true form, and damaged ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("pycocotools")

from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cnnfast.detection.checks import check_pictures
from cnnfast.detection.data import AnnotationError, CocoInstances
from cnnfast.detection.data.coco_segmentation import decode_segmentation
from cnnfast.detection.evaluation import Evaluation
from cnnfast.detection.metrics import coco_metrics, encode_masks
from cnnfast.images import ImageError, load_image, save_image

HEIGHT, WIDTH = 20, 30
SQUARE = [[2, 3, 12, 3, 12, 10, 2, 10]]


def runs_of(mask: np.ndarray) -> list[int]:
    """Lengths of runs of 0 and 1 down the columns, one by one."""
    runs, value = [0], 0
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def random_mask(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.4).astype(np.uint8)


def annotation(number: int, image: int, category: int, segmentation, **more) -> dict:
    entry = {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0}
    return entry | more


@pytest.fixture
def content() -> dict:
    """Three pictures, the second without objects; a crowd as a list of counts, another mask as a string."""
    compressed = encode_masks(torch.from_numpy(random_mask(1))[None].bool())[0]
    crowd = {"size": [HEIGHT, WIDTH], "counts": runs_of(random_mask(2))}
    return {
        "info": {"description": "a test"},
        "images": [
            {"id": 30, "file_name": "c.png", "height": HEIGHT, "width": WIDTH},
            {"id": 10, "file_name": "sub/a.png", "height": HEIGHT, "width": WIDTH},
            {"id": 20, "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
        ],
        "annotations": [
            annotation(1, 10, 44, SQUARE, area=65.5, bbox=[2, 3, 10, 7]),
            annotation(2, 10, 7, compressed),
            annotation(3, 10, 7, crowd, iscrowd=1),
            annotation(4, 30, 44, [*SQUARE, [20, 1, 25, 1, 25, 6]]),
            annotation(5, 30, 44, [[1.2, 1.2, 1.3, 1.2, 1.3, 1.3]]),
        ],
        "categories": [{"id": 44, "name": "square"}, {"id": 7, "name": "noise", "supercategory": "other"}],
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "sub").mkdir()
    for index, name in enumerate(("sub/a.png", "b.png", "c.png")):
        save_image(torch.full((3, HEIGHT, WIDTH), index / 4), tmp_path / name)
    return tmp_path


@pytest.fixture
def open_data(folder, content):
    """Write the changed content and open it."""

    def call(**options) -> CocoInstances:
        (folder / "data.json").write_text(json.dumps(content))
        return CocoInstances(folder, folder / "data.json", **options)

    return call


class TestRead:
    def test_names_and_categories(self, open_data):
        data = open_data()
        assert data.names == ["sub/a.png", "b.png", "c.png"] and data.image_ids == [10, 20, 30] and len(data) == 3
        assert data.categories == ["noise", "square"] and data.category_ids == {1: 7, 2: 44}

    def test_target(self, open_data):
        picture, target = open_data()[0]
        assert picture.shape == (3, HEIGHT, WIDTH) and not picture.any()
        assert target["labels"].tolist() == [2, 1] and target["iscrowd"].tolist() == [0, 0]
        square = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        square[3:10, 2:12] = 1
        assert target["masks"].dtype == torch.uint8
        assert (target["masks"].numpy() == np.stack([square, random_mask(1)])).all()
        assert target["boxes"][0].tolist() == [2, 3, 12, 10] and target["boxes"].dtype == torch.float32
        assert target["area"].tolist() == [65.5, random_mask(1).sum()] and target["image_id"].tolist() == [10]

    def test_crowd(self, open_data):
        target = open_data(crowd=True)[0][1]
        assert target["iscrowd"].tolist() == [0, 0, 1] and target["labels"].tolist() == [2, 1, 1]
        assert (target["masks"][2].numpy() == random_mask(2)).all()

    def test_without_objects(self, open_data):
        target = open_data()[1][1]
        assert target["boxes"].shape == (0, 4) and target["masks"].shape == (0, HEIGHT, WIDTH)
        assert target["labels"].dtype == torch.int64
        assert open_data(annotated_only=True).image_ids == [10, 30]

    def test_objects_without_a_pixel_are_left_out(self, open_data):
        target = open_data()[2][1]
        assert len(target["labels"]) == 1 and target["masks"][0].sum() > 70

    def test_objects_without_a_pixel_are_measured(self, open_data, content, folder, capsys):
        """The same AP as by COCO's own program on the same files, where they count as not found."""
        for entry in content["annotations"]:
            entry.setdefault("area", 50)
        data = open_data(crowd=True, empty=True)
        evaluation = Evaluation(category_ids=data.category_ids)
        for index in range(3):
            target = data[index][1]
            seen = target["masks"].bool().flatten(1).any(1) & (target["iscrowd"] == 0)
            found = {name: target[name][seen] for name in ("masks", "labels")}
            evaluation.update(found | {"scores": torch.ones(int(seen.sum()))}, target, data.image_ids[index])
        official = COCOeval(truth := COCO(str(folder / "data.json")), truth.loadRes(evaluation.results), "segm")
        official.evaluate()
        official.accumulate()
        official.summarize()
        assert evaluation.compute()["AP"] == pytest.approx(official.stats[0]) and official.stats[0] < 0.9

    def test_pixels_as_they_are_stored(self, open_data, folder):
        """The masks belong to them, whatever an EXIF orientation says."""
        exif = Image.Exif()
        exif[0x0112] = 6
        values = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / "b.png", exif=exif)
        assert load_image(folder / "b.png").shape == (3, WIDTH, HEIGHT)
        picture = open_data()[1][0]
        assert (picture.permute(1, 2, 0).mul(255).round().byte().numpy() == values).all()

    def test_a_turned_annotation_names_the_orientation(self, open_data, content):
        content["images"][0].update(height=WIDTH, width=HEIGHT)
        with pytest.raises(AnnotationError, match=r"got 30x20, as it is stored: .* EXIF orientation"):
            open_data()[2]

    def test_index(self, open_data):
        data = open_data()
        assert torch.equal(data[-1][0], data[2][0])
        with pytest.raises(IndexError, match="expected an index below 3, got 3"):
            data[3]

    def test_same_as_torchvision(self, open_data, folder, capsys):
        datasets = pytest.importorskip("torchvision.datasets")
        data = open_data(crowd=True)
        other = datasets.CocoDetection(folder, folder / "data.json")
        assert other.ids == data.image_ids
        for (picture, target), (image, entries) in zip((data[0], data[1]), (other[0], other[1]), strict=True):
            assert (picture.permute(1, 2, 0).mul(255).round().byte().numpy() == np.asarray(image)).all()
            masks = [other.coco.annToMask(entry) for entry in entries]
            assert (target["masks"].numpy() == np.array(masks).reshape(-1, HEIGHT, WIDTH)).all()

    def test_detection_models_take_it(self, open_data):
        data = open_data()
        pictures, targets = zip(*(data[index] for index in range(3)), strict=True)
        check_pictures("test", pictures, targets, training=True)

    def test_against_itself(self, open_data):
        data = open_data(crowd=True)
        truths = [target for _, target in (data[index] for index in range(3))]
        found = [target | {"scores": torch.ones(len(target["labels"]))} for target in truths]
        assert coco_metrics(found, truths)["AP"] == pytest.approx(1)


class TestSegmentations:
    @pytest.mark.parametrize("seed", range(20))
    def test_run_lengths(self, seed):
        mask = (np.random.default_rng(seed).random((HEIGHT, WIDTH)) < seed / 20).astype(np.uint8)
        run = coco_masks.encode(np.asfortranarray(mask))
        for counts in (run["counts"].decode(), runs_of(mask)):
            result = decode_segmentation({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH, "here")
            assert (result == mask).all() and result.dtype == np.uint8

    def test_long_runs(self):
        mask = np.zeros((3000, 2000), dtype=np.uint8)
        mask[5:, 700:1500], mask[0, 1999] = 1, 1
        run = coco_masks.encode(np.asfortranarray(mask))
        result = decode_segmentation({"size": [3000, 2000], "counts": run["counts"].decode()}, 3000, 2000, "here")
        assert (result == mask).all()

    @pytest.mark.parametrize("more", [[1, 2, 3, 4], [], [1, 2, 3, 4, 5], [14.0, 2, 19, 2, 19, 8, 7]])
    def test_polygons_of_odd_lengths_beside_a_good_one(self, more):
        """As pycocotools has it, which stops at such a polygon only where it is the first."""
        entry = {"image_id": 1, "segmentation": [*SQUARE, more]}
        official = COCO()
        official.imgs = {1: {"height": HEIGHT, "width": WIDTH}}
        expected = official.annToMask(entry)
        assert (decode_segmentation(entry["segmentation"], HEIGHT, WIDTH, "here") == expected).all()
        assert (decode_segmentation([more, *SQUARE], HEIGHT, WIDTH, "here") == expected).all()

    def test_corners_far_outside_as_in_pycocotools(self):
        polygon = [[-500, 3, 12, -70, 900, 10.5, 2, 400]]
        runs = coco_masks.merge(coco_masks.frPyObjects(polygon, HEIGHT, WIDTH))
        assert (decode_segmentation(polygon, HEIGHT, WIDTH, "here") == coco_masks.decode(runs)).all()

    @pytest.mark.parametrize(
        "segmentation, words",
        [
            (None, "polygons or run lengths, got NoneType"),
            ([], "polygons or run lengths, got an empty list"),
            ("abc", "polygons or run lengths, got str"),
            ([1, 2, 3, 4, 5, 6], "polygons as lists of numbers, got int"),
            ([[1, 2, 3, 4]], "three pairs of numbers, got 4 numbers"),
            ([[], [1, 2]], "three pairs of numbers, got 2 numbers"),
            ([[1, 2, 3, 4, 5, "6"]], "picture of 30x20 px, got '6'"),
            ([[1, 2, 3, 4, 5, None]], "picture of 30x20 px, got None"),
            ([[1, 2, 3, 4, 5, float("nan")]], "got nan"),
            ([[1, 2, 3, 4, 1e9, 6]], "got 1000000000.0"),
            ([[1, 2, 3, 4, 10**400, 6]], "got 1000"),
            ({"size": [20, 31], "counts": [620]}, r"size \[20, 30\], got \[20, 31\]"),
            ({"counts": [600]}, r"size \[20, 30\], got None"),
            ({"size": [20, 30]}, "list or a string, got NoneType"),
            ({"size": [20, 30], "counts": [1, 2]}, "600 px together, got 3 px"),
            ({"size": [20, 30], "counts": [5, 1000]}, "600 px together, got 1005 px"),
            ({"size": [20, 30], "counts": [700, -100]}, "600 px together, got negative ones"),
            ({"size": [20, 30], "counts": [300.0, 300]}, "whole numbers, got others"),
            ({"size": [20, 30], "counts": [10**30]}, "600 px together, got 1000"),
            ({"size": [20, 30], "counts": ""}, "600 px together, got 0 px"),
            ({"size": [20, 30], "counts": "01"}, "600 px together, got 1 px"),
            ({"size": [20, 30], "counts": "P"}, "a string that breaks off"),
            ({"size": [20, 30], "counts": "o" * 100}, "as COCO writes them, got 'o'"),
            ({"size": [20, 30], "counts": "~~"}, "as COCO writes them, got '~'"),
            ({"size": [20, 30], "counts": "ä"}, "as COCO writes them, got 'ä'"),
        ],
    )
    def test_refused(self, segmentation, words):
        with pytest.raises(AnnotationError, match=f"^here: expected .*{words}"):
            decode_segmentation(segmentation, HEIGHT, WIDTH, "here")


class TestDamaged:
    @pytest.mark.parametrize(
        "text, words",
        [
            ("", "JSON, got a file that is none"),
            ("{", "JSON, got a file that is none"),
            ("[" * 100_000, "JSON, got a file that is none"),
            ("[]", "with a list of images, got none"),
            ('{"images": {}}', "with a list of images, got none"),
            ('{"images": [1]}', "with a list of images, got none"),
            ('{"images": [], "annotations": []}', "with a list of categories, got none"),
            ('{"images": [], "annotations": [], "categories": []}', "at least one picture, got none"),
        ],
    )
    def test_form(self, tmp_path, text, words):
        (tmp_path / "data.json").write_text(text)
        with pytest.raises(AnnotationError, match=rf"data\.json: expected (.* )?{words}"):
            CocoInstances(tmp_path, tmp_path / "data.json")

    def test_file(self, tmp_path):
        (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
        for name, words in (("none.json", "got nothing"), (".", "got a folder"), ("bytes.json", "bytes that are none")):
            with pytest.raises(AnnotationError, match=words):
                CocoInstances(tmp_path, tmp_path / name)

    @pytest.mark.parametrize(
        "part, key, value, words, left",
        [
            ("images", "id", "ten", "images without a whole number as id, the first of id 'ten'", 2),
            ("images", "id", True, "images without a whole number as id, the first of id True", 2),
            ("images", "id", 10**30, "images without a whole number as id", 2),
            ("images", "id", 20, "images of an id that a later one has, the first of id 20", 2),
            ("images", "height", 0, "images of no pixel or more than 1e\\+09, the first of id 30", 2),
            ("images", "width", 10**9, "images of no pixel or more than 1e\\+09", 2),
            ("images", "width", None, "images without a whole number as width", 2),
            ("images", "file_name", "/etc/passwd", "images without a file_name inside the folder", 2),
            ("images", "file_name", "../a.png", "images without a file_name inside the folder", 2),
            ("images", "file_name", "a\0.png", "images without a file_name inside the folder", 2),
            ("images", "file_name", 3, "images without a file_name inside the folder", 2),
            ("annotations", "image_id", 99, "annotations of an image that is not listed, the first of id 1", 3),
            ("annotations", "category_id", 99, "annotations of a category that is not listed, the first of id 1", 3),
            ("annotations", "category_id", None, "annotations without a whole number as category_id", 3),
            ("categories", "id", 1.5, "categories without a whole number as id, the first of id 1.5", 3),
        ],
    )
    def test_entries_are_left_out_and_named(self, open_data, content, caplog, part, key, value, words, left):
        content[part][0][key] = value
        data = open_data()
        assert len(data) == left and re.search(rf"left out: .*data\.json: \d {words}", caplog.text)
        assert re.search(words, data.left_out[0])
        for index in range(left):
            data[index]

    def test_the_last_picture_of_an_id_counts(self, open_data, content):
        """As in pycocotools, whose index is a dict."""
        content["images"].append({"id": 10, "file_name": "c.png", "height": HEIGHT, "width": WIDTH})
        data = open_data()
        assert data.names == ["c.png", "b.png", "c.png"] and len(data[0][1]["labels"]) == 2

    def test_the_last_category_of_an_id_counts(self, open_data, content):
        content["categories"].append({"id": 7, "name": "another"})
        data = open_data()
        assert (
            data.categories == ["another", "square"] and "categories of an id that a later one has" in data.left_out[0]
        )

    @pytest.mark.parametrize("part", ["images", "annotations", "categories"])
    def test_entries_that_are_no_objects(self, open_data, content, part):
        content[part] += [None, "text"]
        data = open_data()
        assert len(data) == 3 and "data.json: 2 entries that are no objects" in data.left_out[0]

    def test_without_a_category(self, open_data, content):
        content["categories"] = []
        with pytest.raises(AnnotationError, match=r"data\.json: expected at least one category"):
            open_data()

    @pytest.mark.parametrize(
        "segmentation", [[], None, [[1, 2]], {"size": [HEIGHT, WIDTH], "counts": "01"}, [[1, 2, 3, 4, 5, None]]]
    )
    def test_an_annotation_is_left_out_and_named_once(self, open_data, content, caplog, segmentation):
        content["annotations"][1]["segmentation"] = segmentation
        data = open_data()
        assert data[0][1]["labels"].tolist() == [2]
        words = "data.json: picture 10, annotation 2: expected "
        assert caplog.text.count(words) == 1 and len(data.left_out) == 1 and words in data.left_out[0]
        data[0]
        assert len(data.left_out) == 1

    @pytest.mark.parametrize("area", ["big", float("inf"), None, True])
    def test_area_that_is_no_number(self, open_data, content, area):
        content["annotations"][0]["area"] = area
        assert open_data()[0][1]["area"].tolist() == [70, random_mask(1).sum()]

    def test_pictures(self, open_data, folder):
        data = open_data()
        (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:30])
        save_image(torch.zeros(3, HEIGHT, WIDTH + 1), folder / "c.png")
        (folder / "sub/a.png").unlink()
        for index, error, words in (
            (0, ImageError, "a.png which does not exist"),
            (1, ImageError, "b.png which is"),
            (2, AnnotationError, r"c\.png: expected 30x20 px as its annotation, got 31x20"),
        ):
            with pytest.raises(error, match=words):
                data[index]
