"""Memory that large pictures with many objects take."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("PIL")
pytest.importorskip("pycocotools")
pytest.importorskip("torchvision")

from cnnfast.detection.drawing import draw_instances
from cnnfast.detection.metrics import CocoMetrics, to_coco_results
from cnnfast.detection.prediction import predict_instances
from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model
from tests.ops.measures import peak_bytes


@pytest.fixture
def found():
    torch.manual_seed(0)
    masks = torch.zeros(20, 200, 300, dtype=torch.bool)
    masks[:, 50:150, 60:250] = True
    boxes = torch.tensor([[60.0, 50.0, 250.0, 150.0]]).expand(20, 4)
    return {"masks": masks, "boxes": boxes, "labels": torch.ones(20, dtype=torch.int64), "scores": torch.rand(20)}


def test_drawing_takes_one_mask_at_a_time(found):
    picture = torch.rand(3, 200, 300)
    assert peak_bytes(lambda: draw_instances(picture, found)) < 80 * picture[0].numel()


@pytest.mark.parametrize("use", ["results", "metrics"])
def test_metrics_copy_masks_as_bool(found, use):
    """A comparison with 0 and a sum would make eight bytes of each pixel of each mask."""
    metric = CocoMetrics()
    calls = {"results": lambda: to_coco_results([found], [1]), "metrics": lambda: metric.update(found, found)}
    assert peak_bytes(calls[use]) < 1.5 * found["masks"].numel()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["maskrcnn", "mnc"])
def test_a_hundred_objects_of_twelve_megapixels(kind):
    """At most 1 GB beyond the masks."""
    torch.manual_seed(0)
    network = build_model(ModelSettings(kind, "small", 3, min_size=200, max_size=300)).eval()
    picture = torch.rand(3, 3000, 4000)
    result = {}
    peak = peak_bytes(lambda: result.update(predict_instances(network, picture, max_detections=100)))
    assert result["masks"].shape == (100, 3000, 4000) and peak < result["masks"].numel() + 1e9
