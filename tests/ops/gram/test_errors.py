"""Bad arguments of the Gram functions, fused and plain: the error names function, argument, what it wants and got."""

from __future__ import annotations

import math

import pytest
import torch

from cnnfast import ops, reference
from tests.ops.promises import refused_calls

FUSED_AND_PLAIN = pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
X = torch.ones(2, 3, 4, 5)
ROWS = torch.ones(2, 3, 20)
TARGET = torch.eye(3)
META = torch.ones(3, 3, device="meta")
FLOATING = "float64, float32, bfloat16 or float16"


def call(function, *args, **kwargs):
    return function, args, kwargs


def sparse(shape):
    return torch.ones(shape).to_sparse()


FEATURES = f"expected x of dtype {FLOATING}, got"
WEIGHTS = "of shape [B,M], [H,W] or [B,R,H,W] ([B,R,M] for features [B,C,M]) for x [2, 3, 4, 5], got"
NORMALIZE = 'expected normalize "none", "hw", "chw" or a positive finite number, got'
ONE_TARGET = "expected target of shape [C,C], [1,C,C] or [B,C,C] for x [2, 3, 4, 5], got"
REGION_TARGET = "expected target of shape [R,C,C] or [B,R,C,C] for x [2, 3, 4, 5] and 2 regions, got"

WRONG_KIND = {
    "x list": (call("gram_matrix", [[1.0]]), "expected x a torch.Tensor, got list"),
    "x none": (call("gram_mse_loss", None, TARGET), "expected x a torch.Tensor, got NoneType"),
    "x number": (call("cross_gram", 3, X), "expected x a torch.Tensor, got int"),
    "y none": (call("cross_gram", X, None), "expected y a torch.Tensor, got NoneType"),
    "x int": (call("gram_matrix", X.long()), f"{FEATURES} torch.int64"),
    "x bool": (call("gram_mse_loss", X.bool(), TARGET), f"{FEATURES} torch.bool"),
    "x complex": (call("gram_matrix", X.to(torch.complex64)), f"{FEATURES} torch.complex64"),
    "x float8": (call("gram_matrix", X.to(torch.float8_e4m3fn)), f"{FEATURES} torch.float8_e4m3fn"),
    "x sparse": (call("gram_matrix", sparse((2, 3, 4))), "expected a dense x, got layout torch.sparse_coo"),
    "y int": (call("cross_gram", X, X.int()), f"expected y of dtype {FLOATING}, got torch.int32"),
    "y dtype": (call("cross_gram", X, X.double()), "expected y of dtype torch.float32 like x, got torch.float64"),
    "weight list": (call("gram_matrix", X, pixel_weight=[1.0]), "expected pixel_weight a torch.Tensor, got list"),
    "weight int": (
        call("gram_matrix", X, pixel_weight=torch.ones(4, 5).int()),
        f"expected pixel_weight of dtype {FLOATING} or bool, got torch.int32",
    ),
    "weight sparse": (call("gram_matrix", X, pixel_weight=sparse((4, 5))), "expected a dense pixel_weight, got layout"),
    "pixel_weight complex": (
        call("gram_mse_loss", X, TARGET, pixel_weight=torch.ones(4, 5) * 1j),
        f"expected pixel_weight of dtype {FLOATING} or bool, got torch.complex64",
    ),
    "normalize none": (call("gram_matrix", X, None), f"{NORMALIZE} None"),
    "normalize bool": (call("gram_matrix", X, True), f"{NORMALIZE} True"),
    "normalize tensor": (call("cross_gram", X, X, torch.tensor([2])), f"{NORMALIZE} tensor([2])"),
    "out_dtype int": (
        call("gram_matrix", X, out_dtype=torch.int32),
        f"expected out_dtype {FLOATING}, got torch.int32",
    ),
    "out_dtype word": (call("gram_matrix", X, out_dtype="float32"), f"expected out_dtype {FLOATING}, got 'float32'"),
    "target list": (call("gram_mse_loss", X, [[0.0]]), "expected target a torch.Tensor, got list"),
    "target int": (call("gram_mse_loss", X, TARGET.int()), f"expected target of dtype {FLOATING}, got torch.int32"),
    "loss weight word": (
        call("gram_mse_loss", X, TARGET, "1"),
        "expected weight a number or a tensor of shape [B], got '1'",
    ),
    "loss weight bool": (call("gram_mse_loss", X, TARGET, True), "expected weight a number or a tensor"),
    "loss weight int tensor": (
        call("gram_mse_loss", X, TARGET, torch.ones(2).int()),
        f"expected weight of dtype {FLOATING}, got torch.int32",
    ),
}
WRONG_VALUE = {
    "x 2-D": (call("gram_matrix", X[0, 0]), "expected x of shape [B,C,H,W] or [B,C,M], got [4, 5]"),
    "x 5-D": (call("gram_mse_loss", X[None], TARGET), "expected x of shape [B,C,H,W] or [B,C,M], got [1, 2, 3, 4, 5]"),
    "x scalar": (call("cross_gram", X[0, 0, 0, 0], X), "expected x of shape [B,C,H,W] or [B,C,M], got []"),
    "y 2-D": (call("cross_gram", X, X[0, 0]), "expected y of shape [B,C,H,W] or [B,C,M], got [4, 5]"),
    "y batch": (
        call("cross_gram", X, X[:1]),
        "expected y with the batch size and the positions of x [2, 3, 4, 5], got [1, 3, 4, 5]",
    ),
    "y positions": (call("cross_gram", X, X.mT), "and the positions of x [2, 3, 4, 5], got [2, 3, 5, 4]"),
    "y flat": (call("cross_gram", X, ROWS), "and the positions of x [2, 3, 4, 5], got [2, 3, 20]"),
    "y device": (call("cross_gram", X, X.to("meta")), "expected y on cpu like x, got meta"),
    "weight 1-D": (call("gram_matrix", X, pixel_weight=torch.ones(20)), f"expected pixel_weight {WEIGHTS} [20]"),
    "weight transposed": (
        call("gram_matrix", X, pixel_weight=torch.ones(5, 4)),
        f"expected pixel_weight {WEIGHTS} [5, 4]",
    ),
    "weight batch": (
        call("gram_matrix", X, pixel_weight=torch.ones(3, 20)),
        f"expected pixel_weight {WEIGHTS} [3, 20]",
    ),
    "weight maps": (
        call("cross_gram", X, X, pixel_weight=torch.ones(3, 1, 4, 5)),
        f"expected pixel_weight {WEIGHTS} [3, 1, 4, 5]",
    ),
    "weight 3-D": (
        call("gram_matrix", X, pixel_weight=torch.ones(2, 4, 5)),
        f"expected pixel_weight {WEIGHTS} [2, 4, 5]",
    ),
    "weight no region": (
        call("gram_matrix", X, pixel_weight=torch.ones(2, 0, 4, 5)),
        f"expected pixel_weight {WEIGHTS} [2, 0, 4, 5]",
    ),
    "weight image for rows": (
        call("gram_matrix", ROWS, pixel_weight=torch.ones(4, 5)),
        "for features [B,C,M]) for x [2, 3, 20], got [4, 5]",
    ),
    "weight device": (
        call("gram_matrix", X, pixel_weight=torch.ones(4, 5, device="meta")),
        "expected pixel_weight on cpu",
    ),
    "weight negative": (
        call("gram_matrix", X, pixel_weight=torch.linspace(-1.5, 9, 20).view(4, 5)),
        "expected pixel_weight without negative values, got -1.5",
    ),
    "pixel_weight shape": (
        call("gram_mse_loss", X, TARGET, pixel_weight=torch.ones(20)),
        f"expected pixel_weight {WEIGHTS} [20]",
    ),
    "pixel_weight negative": (
        call("gram_mse_loss", X, TARGET, pixel_weight=-torch.ones(2, 1, 4, 5)),
        "expected pixel_weight without negative values, got -1",
    ),
    "normalize word": (call("gram_matrix", X, "wh"), f"{NORMALIZE} 'wh'"),
    "normalize zero": (call("cross_gram", X, X, 0), f"{NORMALIZE} 0"),
    "normalize negative": (call("gram_mse_loss", X, TARGET, normalize=-1.0), f"{NORMALIZE} -1.0"),
    "normalize nan": (call("gram_matrix", X, math.nan), f"{NORMALIZE} nan"),
    "normalize inf": (call("gram_matrix", X, math.inf), f"{NORMALIZE} inf"),
    "target channels": (call("gram_mse_loss", X, torch.eye(4)), f"{ONE_TARGET} [4, 4]"),
    "target 1-D": (call("gram_mse_loss", X, torch.ones(3)), f"{ONE_TARGET} [3]"),
    "target batch": (call("gram_mse_loss", X, torch.ones(3, 3, 3)), f"{ONE_TARGET} [3, 3, 3]"),
    "target rectangular": (call("gram_mse_loss", X, torch.ones(3, 1)), f"{ONE_TARGET} [3, 1]"),
    "target 4-D": (call("gram_mse_loss", X, torch.ones(2, 1, 3, 3)), f"{ONE_TARGET} [2, 1, 3, 3]"),
    "target without regions": (
        call("gram_mse_loss", X, TARGET, pixel_weight=torch.ones(2, 2, 4, 5)),
        f"{REGION_TARGET} [3, 3]",
    ),
    "target other regions": (
        call("gram_mse_loss", X, torch.ones(3, 3, 3), pixel_weight=torch.ones(2, 2, 4, 5)),
        f"{REGION_TARGET} [3, 3, 3]",
    ),
    "target device": (call("gram_mse_loss", X, META), "expected target on cpu like x, got meta"),
    "loss weight nan": (call("gram_mse_loss", X, TARGET, math.nan), "expected a finite weight, got nan"),
    "loss weight inf": (call("gram_mse_loss", X, TARGET, -math.inf), "expected a finite weight, got -inf"),
    "loss weight shape": (
        call("gram_mse_loss", X, TARGET, torch.ones(3)),
        "expected weight of shape [] or [B] for x [2, 3, 4, 5], got [3]",
    ),
    "loss weight device": (call("gram_mse_loss", X, TARGET, torch.ones(2, device="meta")), "expected weight on cpu"),
    "scale": (
        call("gram_mse_loss", X, TARGET, scale="max"),
        'expected scale one of "gatys", "mean", "sum", got \'max\'',
    ),
    "reduction": (
        call("gram_mse_loss", X, TARGET, reduction="batchmean"),
        'expected reduction one of "mean", "sum", "none", got \'batchmean\'',
    ),
}
test_message = refused_calls(WRONG_KIND, WRONG_VALUE)


@FUSED_AND_PLAIN
def test_not_a_number_in_a_weight_is_no_negative_weight(module):
    weight = torch.ones(4, 5)
    weight[0, 0] = math.nan
    assert module.gram_matrix(X, pixel_weight=weight).isnan().all()


@FUSED_AND_PLAIN
def test_negative_zero_is_no_negative_weight(module):
    assert torch.equal(module.gram_matrix(X, pixel_weight=-torch.zeros(4, 5)), torch.zeros(2, 3, 3))


class TestPrivateOperators:
    """The operators under the public functions protect memory by themselves."""

    @pytest.mark.parametrize(
        ("name", "args"),
        [
            ("gram", (X, None, 0, 1.0, False)),
            ("gram", (ROWS.long(), None, 0, 1.0, False)),
            ("gram", (ROWS, torch.ones(2, 1, 19), 0, 1.0, False)),
            ("gram", (ROWS, torch.ones(3, 1, 20), 0, 1.0, False)),
            ("gram", (ROWS, torch.ones(2, 20), 0, 1.0, False)),
            ("gram", (ROWS, torch.ones(2, 1, 20).double(), 0, 1.0, False)),
            ("gram", (ROWS, None, 3, 1.0, False)),
            ("_gram_backward", (torch.ones(2, 1, 3, 4), ROWS, None, 0, 1.0, False)),
            ("_gram_backward", (torch.ones(2, 1, 3, 3).double(), ROWS, None, 0, 1.0, False)),
            ("_gram_backward", (torch.ones(1, 1, 3, 3), ROWS, None, 0, 1.0, False)),
            ("_gram_backward", (torch.ones(2, 2, 3, 3), ROWS, None, 0, 1.0, False)),
            ("cross_gram", (ROWS, ROWS[:1], None, 0, 1.0, False)),
            ("cross_gram", (ROWS, ROWS[..., :19], None, 0, 1.0, False)),
            ("cross_gram", (ROWS, ROWS.double(), None, 0, 1.0, False)),
            ("_cross_gram_backward", (torch.ones(2, 1, 3, 4), ROWS, None, 0, 1.0, False)),
            ("gram_mse", (ROWS, torch.ones(1, 1, 3, 4), None, 0, 1.0, False)),
            ("gram_mse", (ROWS, torch.ones(3, 1, 3, 3), None, 0, 1.0, False)),
            ("gram_mse", (ROWS, torch.ones(3, 3), None, 0, 1.0, False)),
            ("_gram_mse_backward", (torch.ones(2), torch.ones(2, 1, 3, 3), ROWS, TARGET, None, 0, 1.0, False)),
            ("_gram_mse_backward", (torch.ones(2, 1), torch.ones(2, 1, 3, 2), ROWS, TARGET, None, 0, 1.0, False)),
        ],
    )
    def test_reject_what_does_not_fit(self, name, args):
        with pytest.raises(RuntimeError, match=rf"{name}\b.*(must|fit|expected)"):
            getattr(torch.ops.cnnfast, name)(*args)
