"""Bad arguments of the disc functions, fused and plain: the error names function, argument, what it wants and got."""

from __future__ import annotations

import math

import pytest
import torch

from cnnfast import ops, reference
from tests.ops.promises import refused_calls

FUSED_AND_PLAIN = pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
B = torch.ones(2, 3, 4, 5)
RADII = (0, 1, 2)
LABELS = torch.ones(2, 4, 5, dtype=torch.uint8)
FLOATING = "float64, float32, bfloat16 or float16"


def call(function, *args, **kwargs):
    return function, args, kwargs


def mask(*args, **kwargs):
    return call("inverse_distance_transform", *args, **kwargs)


WRONG_KIND = {
    "B list": (call("disc_sum", [[1.0]], RADII), "expected B a torch.Tensor, got list"),
    "B none": (mask(None, RADII), "expected B a torch.Tensor, got NoneType"),
    "B int": (call("disc_sum", B.long(), RADII), f"expected B of dtype {FLOATING}, got torch.int64"),
    "B complex": (mask(B * 1j, RADII), f"expected B of dtype {FLOATING}, got torch.complex64"),
    "B sparse": (call("disc_sum", B.to_sparse(), RADII), "expected a dense B, got layout torch.sparse_coo"),
    "radii number": (call("disc_sum", B, 3), "expected radii a sequence of integers, got int"),
    "radii tensor": (mask(B, torch.tensor([0, 1, 2])), "expected radii a sequence of integers, got Tensor"),
    "radii word": (call("disc_union", LABELS, "012"), "expected radii a sequence of integers, got str"),
    "radii float": (call("disc_sum", B, (0, 1.5, 2)), "expected radii a sequence of integers, got 1.5 in it"),
    "radii bool": (mask(B, (0, True, 2)), "expected radii a sequence of integers, got True in it"),
    "weight list": (call("disc_sum", B, RADII, [1.0]), "expected weight a torch.Tensor, got list"),
    "weight int": (
        mask(B, RADII, torch.ones(3).int()),
        f"expected weight of dtype {FLOATING}, got torch.int32",
    ),
    "bias word": (mask(B, RADII, bias="1"), "expected bias a number or a tensor of shape [], got '1'"),
    "bias bool": (mask(B, RADII, bias=True), "expected bias a number or a tensor of shape [], got True"),
    "bias int tensor": (mask(B, RADII, bias=torch.tensor(1)), f"expected bias of dtype {FLOATING}, got torch.int64"),
    "pad float": (call("disc_sum", B, RADII, pad=1.0), "expected pad an integer, got 1.0"),
    "pad bool": (call("disc_union", LABELS, RADII, pad=True), "expected pad an integer, got True"),
    "labels list": (call("disc_union", [[1]], RADII), "expected labels a torch.Tensor, got list"),
    "labels int": (call("disc_union", LABELS.long(), RADII), "expected labels of dtype uint8, got torch.int64"),
    "labels bool": (call("disc_union", LABELS.bool(), RADII), "expected labels of dtype uint8, got torch.bool"),
}
WRONG_VALUE = {
    "B 3-D": (call("disc_sum", B[0], RADII), "expected B of shape [N,K,H,W], got [3, 4, 5]"),
    "B bins": (mask(B, (0, 1)), "expected B with 2 bins like radii, got [2, 3, 4, 5]"),
    "no radii": (call("disc_sum", B, ()), "expected at least one radius, got none"),
    "negative radius": (mask(B, (0, -1, 2)), "expected radii from 0 to 32767, got -1"),
    "huge radius": (call("disc_union", LABELS, (0, 40000)), "expected radii from 0 to 32767, got 40000"),
    "weight shape": (
        call("disc_sum", B, RADII, torch.ones(2)),
        "expected weight of shape [K] for B [2, 3, 4, 5], got [2]",
    ),
    "weight 2-D": (mask(B, RADII, torch.ones(1, 3)), "expected weight of shape [K] for B [2, 3, 4, 5], got [1, 3]"),
    "weight device": (mask(B, RADII, torch.ones(3, device="meta")), "expected weight on cpu like B, got meta"),
    "bias shape": (mask(B, RADII, bias=torch.ones(2)), "expected bias of shape [] or [1], got [2]"),
    "bias nan": (mask(B, RADII, bias=math.nan), "expected a finite bias, got nan"),
    "bias device": (mask(B, RADII, bias=torch.ones((), device="meta")), "expected bias on cpu like B, got meta"),
    "pad negative": (call("disc_sum", B, RADII, pad=-1), "expected pad from 0 to 32767, got -1"),
    "pad huge": (mask(B, RADII, pad=10**7), "expected pad from 0 to 32767, got 10000000"),
    "union": (mask(B, RADII, union="or"), 'expected union one of "sum", "noisy_or", "max", got \'or\''),
    "weight of noisy_or": (
        mask(B, RADII, torch.ones(3), union="noisy_or"),
        'expected weight None with union "noisy_or", got Tensor',
    ),
    "bias of max": (mask(B, RADII, bias=0.0, union="max"), 'expected bias None with union "max", got float'),
    "labels 2-D": (call("disc_union", LABELS[0], RADII), "expected labels of shape [N,H,W], got [4, 5]"),
    "label without radius": (call("disc_union", LABELS + 3, RADII), "expected labels from 0 to 3, got 4"),
    "too many radii": (call("disc_union", LABELS, [0] * 256), "expected at most 255 radii, got 256"),
}
test_message = refused_calls(WRONG_KIND, WRONG_VALUE)


class TestPrivateOperators:
    """The operators under the public functions protect memory by themselves."""

    SUM = torch.ones(2, 1, 8, 9)

    @pytest.mark.parametrize(
        ("name", "args"),
        [
            ("disc_sum", (B[0], [0, 1, 2], None, 2, False)),
            ("disc_sum", (B, [0, 1], None, 2, False)),
            ("disc_sum", (B, [], None, 2, False)),
            ("disc_sum", (B, [0, 1, -2], None, 2, False)),
            ("disc_sum", (B, [0, 1, 1 << 40], None, 2, False)),
            ("disc_sum", (B, [0, 1, 2], None, -1, False)),
            ("disc_sum", (B.int(), [0, 1, 2], None, 2, False)),
            ("disc_sum", (B, [0, 1, 2], torch.ones(2), 2, False)),
            ("disc_sum", (B, [0, 1, 2], torch.ones(3).double(), 2, False)),
            ("disc_sum", (B, [0, 1, 2], torch.ones(3), 2, True)),
            ("_disc_sum_backward", (SUM[..., :8], B, [0, 1, 2], None, 2, False, True, True)),
            ("_disc_sum_backward", (SUM[:1], B, [0, 1, 2], None, 2, False, True, True)),
            ("_disc_sum_backward", (SUM.double(), B, [0, 1, 2], None, 2, False, True, True)),
            ("_disc_sum_backward", (SUM, B, [0, 1, 2], None, 3, False, True, True)),
            ("_disc_sum_backward", (SUM, B, [0, 1, 2], None, 2, True, True, True)),
            ("disc_max", (B, [0, 1], 2)),
            ("disc_max", (B, [0, 1, 2], -3)),
            ("disc_union", (B, [0, 1, 2], 2)),
            ("disc_union", (LABELS.int(), [0, 1, 2], 2)),
            ("disc_union", (LABELS, [0] * 256, 2)),
        ],
    )
    def test_reject_what_does_not_fit(self, name, args):
        with pytest.raises(RuntimeError, match=rf"{name}\b.*(must|fit|expected)"):
            getattr(torch.ops.cnnfast, name)(*args)

    def test_labels_without_a_radius(self):
        with pytest.raises(RuntimeError, match="disc_union: labels must be 0 to 3, got 101"):
            torch.ops.cnnfast.disc_union(LABELS + 100, [0, 1, 2], 2)
        labels = LABELS.clone()
        labels[1, 3, 4] = 4
        for strided in (labels, labels.mT.contiguous().mT):
            with pytest.raises(RuntimeError, match="labels must be 0 to 3, got 4"):
                torch.ops.cnnfast.disc_union(strided, [0, 1, 2], 2)
