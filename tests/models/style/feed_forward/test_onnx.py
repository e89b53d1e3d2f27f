"""ONNX files give in onnxruntime what the network gives here."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from cnnfast.models.style.feed_forward.apply import apply_style  # noqa: E402
from cnnfast.models.style.feed_forward.examples_network import TransformerNet  # noqa: E402
from cnnfast.models.style.feed_forward.onnx import export_onnx  # noqa: E402
from cnnfast.models.style.feed_forward.paper_network import JohnsonNet  # noqa: E402

TINY = [(1, 3, 1, 1), (1, 3, 1, 7), (2, 3, 4, 5), (1, 3, 6, 3)]


def check(network, path, shapes, size=None):
    export_onnx(network, path, size=size)
    session = onnxruntime.InferenceSession(str(path))
    for shape in shapes:
        picture = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        (styled,) = session.run(None, {"image": picture.numpy()})
        torch.testing.assert_close(torch.from_numpy(styled), apply_style(network, picture), rtol=0, atol=1e-4)


def test_any_size(tmp_path):
    torch.manual_seed(0)
    check(TransformerNet((4, 6, 8)).eval(), tmp_path / "a.onnx", [(1, 3, 32, 48), (2, 3, 37, 51), *TINY])
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_johnson_with_batch_norms_and_fixed_size(tmp_path):
    torch.manual_seed(0)
    network = JohnsonNet("batch", arch="c9s1-4,d6,R6,u4,c9s1-3").eval()
    check(network, tmp_path / "a.onnx", [(1, 3, 32, 44), (3, 3, 32, 44)], size=(32, 44))


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.onnx, got"):
        export_onnx(TransformerNet((4, 6, 8)), tmp_path / "a.bin")
    with pytest.raises(ValueError, match="size of at least 5 px"):
        export_onnx(TransformerNet((4, 6, 8)), tmp_path / "a.onnx", size=(4, 90))
