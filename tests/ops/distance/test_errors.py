"""Bad arguments of the distance transforms, fused and plain: the error names function, argument, and what it got."""

from __future__ import annotations

import math

import pytest
import torch

from cnnfast import ops, reference
from tests.ops.promises import refused_calls

FUSED_AND_PLAIN = pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
MASK = torch.ones(2, 4, 5, dtype=torch.bool)


def transform(*args, **kwargs):
    return "truncated_distance_transform", args, kwargs


def bins(*args, **kwargs):
    return "mask_to_bins", args, kwargs


WHOLE = "expected R a whole number from 1 to 255 for bins, got"
FINITE = "expected R a finite number >= 1 or None, got"
SQUARED = "expected R a whole number from 1 to 46340 or None for squared distances in pixels, got"
SPACING = "expected spacing (sy, sx) of two numbers from 1e-12 to 1e12, got"
DTYPE = "expected mask of dtype bool or an integer, got"

WRONG_KIND = {
    "mask list": (transform([[1]], 3), "expected mask a torch.Tensor, got list"),
    "mask none": (bins(None, 3, 3), "expected mask a torch.Tensor, got NoneType"),
    "mask floating": (transform(torch.ones(4, 5), 3), f"{DTYPE} torch.float32: pass mask > 0.5"),
    "mask half": (bins(torch.ones(4, 5).half(), 3, 3), f"{DTYPE} torch.float16: pass mask > 0.5"),
    "mask complex": (transform(torch.ones(4, 5) * 1j, 3), f"{DTYPE} torch.complex64"),
    "mask sparse": (transform(torch.ones(4, 5).to_sparse(), 3), "expected a dense mask, got layout torch.sparse_coo"),
    "R word": (transform(MASK, "3"), f"{WHOLE} '3'"),
    "R bool": (transform(MASK, True), f"{WHOLE} True"),
    "R tensor": (transform(MASK, torch.tensor([3])), f"{WHOLE} tensor([3])"),
    "R word of distances": (transform(MASK, "3", output="distance"), f"{FINITE} '3'"),
    "R of bins word": (bins(MASK, "3", 1), f"{WHOLE} '3'"),
    "K floating": (bins(MASK, 3, 2.0), "expected K an int from 1 to R = 3, got 2.0"),
    "K bool": (bins(MASK, 3, True), "expected K an int from 1 to R = 3, got True"),
    "labels number": (transform(MASK, 3, labels=1), "expected labels True or False, got 1"),
    "labels of bins": (bins(MASK, 3, 3, labels="yes"), "expected labels True or False, got 'yes'"),
    "spacing number": (transform(MASK, 3, spacing=2.0), f"{SPACING} 2.0"),
    "spacing words": (transform(MASK, 3, spacing=("1", "1")), f"{SPACING} ('1', '1')"),
    "one_hot number": (bins(MASK, 3, 3, one_hot=1), "expected one_hot True or False, got 1"),
    "dtype": (
        bins(MASK, 3, 3, one_hot=True, dtype=torch.int64),
        "expected dtype uint8, float16, bfloat16, float32 or float64, got torch.int64",
    ),
}
WRONG_VALUE = {
    "mask 1-D": (transform(MASK[0, 0], 3), "expected mask of shape [...,H,W], got [5]"),
    "mask scalar": (bins(MASK[0, 0, 0], 3, 3), "expected mask of shape [...,H,W], got []"),
    "no R": (transform(MASK), f"{WHOLE} None"),
    "R zero": (transform(MASK, 0), f"{WHOLE} 0"),
    "R negative": (transform(MASK, -3), f"{WHOLE} -3"),
    "R large": (transform(MASK, 256), f"{WHOLE} 256"),
    "R fraction": (transform(MASK, 2.5), f"{WHOLE} 2.5"),
    "R nan": (transform(MASK, math.nan), f"{WHOLE} nan"),
    "R inf": (transform(MASK, math.inf), f"{WHOLE} inf"),
    "R below one": (transform(MASK, 0.5, output="distance"), f"{FINITE} 0.5"),
    "R infinite distance": (transform(MASK, math.inf, output="distance"), f"{FINITE} inf"),
    "R nan signed": (transform(MASK, math.nan, output="signed"), f"{FINITE} nan"),
    "R squared fraction": (transform(MASK, 2.5, output="squared"), f"{SQUARED} 2.5"),
    "R squared large": (transform(MASK, 46341, output="squared"), f"{SQUARED} 46341"),
    "R of bins none": (bins(MASK, None, 3), f"{WHOLE} None"),
    "R of bins large": (bins(MASK, 300, 3), f"{WHOLE} 300"),
    "K zero": (bins(MASK, 3, 0), "expected K from 1 to R = 3, got 0"),
    "K above R": (bins(MASK, 3, 4), "expected K from 1 to R = 3, got 4"),
    "border": (transform(MASK, 3, border="zero"), 'expected border one of "none", "background", got \'zero\''),
    "border of bins": (bins(MASK, 3, 3, border=None), 'expected border one of "none", "background", got None'),
    "output": (
        transform(MASK, 3, output="edt"),
        'expected output one of "bins", "distance", "squared", "signed", got \'edt\'',
    ),
    "zero": (transform(MASK, 3, zero="outer"), 'expected zero one of "edge", "half", "inner", got \'outer\''),
    "spacing zero": (transform(MASK, 3, spacing=(0.0, 1.0)), f"{SPACING} (0.0, 1.0)"),
    "spacing negative": (transform(MASK, 3, spacing=(1.0, -1.0)), f"{SPACING} (1.0, -1.0)"),
    "spacing nan": (transform(MASK, 3, spacing=(math.nan, 1.0)), f"{SPACING} (nan, 1.0)"),
    "spacing inf": (transform(MASK, 3, spacing=(1.0, math.inf)), f"{SPACING} (1.0, inf)"),
    "spacing of three": (transform(MASK, 3, spacing=(1.0, 1.0, 1.0)), f"{SPACING} (1.0, 1.0, 1.0)"),
    "dtype without one_hot": (
        bins(MASK, 3, 3, dtype=torch.uint8),
        "expected dtype only with one_hot=True (labels are uint8), got torch.uint8",
    ),
}
test_message = refused_calls(WRONG_KIND, WRONG_VALUE)


@FUSED_AND_PLAIN
def test_whole_floating_radius_is_a_whole_number(module):
    assert torch.equal(module.truncated_distance_transform(MASK, 3.0), module.truncated_distance_transform(MASK, 3))


class TestPrivateOperators:
    """The operators under the public functions protect memory by themselves."""

    @pytest.mark.parametrize(
        ("name", "args"),
        [
            ("truncated_distance_transform", (MASK[0], 3.0, False, 1.0, 1.0, False, 0, 0)),
            ("truncated_distance_transform", (MASK.float(), 3.0, False, 1.0, 1.0, False, 0, 0)),
            ("truncated_distance_transform", (MASK, 0.0, False, 1.0, 1.0, False, 0, 0)),
            ("truncated_distance_transform", (MASK, 256.0, False, 1.0, 1.0, False, 0, 0)),
            ("truncated_distance_transform", (MASK, 2.5, False, 1.0, 1.0, False, 0, 0)),
            ("truncated_distance_transform", (MASK, math.nan, False, 1.0, 1.0, False, 1, 0)),
            ("truncated_distance_transform", (MASK, math.inf, False, 1.0, 1.0, False, 1, 0)),
            ("truncated_distance_transform", (MASK, -1.0, False, 1.0, 1.0, False, 1, 0)),
            ("truncated_distance_transform", (MASK, 50000.0, False, 1.0, 1.0, False, 2, 0)),
            ("truncated_distance_transform", (MASK, 3.0, False, 0.0, 1.0, False, 0, 0)),
            ("truncated_distance_transform", (MASK, 3.0, False, 1.0, math.nan, False, 0, 0)),
            ("truncated_distance_transform", (MASK, 3.0, False, 1.0, 1.0, False, 4, 0)),
            ("truncated_distance_transform", (MASK, 3.0, False, 1.0, 1.0, False, 3, 3)),
            ("mask_to_bins", (MASK[0], 3, 3, False, False, 0)),
            ("mask_to_bins", (MASK.double(), 3, 3, False, False, 0)),
            ("mask_to_bins", (MASK, 0, 1, False, False, 0)),
            ("mask_to_bins", (MASK, 256, 3, False, False, 0)),
            ("mask_to_bins", (MASK, 3, 0, False, False, 0)),
            ("mask_to_bins", (MASK, 3, 4, False, False, 0)),
            ("mask_to_bins", (MASK, 3, 3, False, False, 6)),
            ("mask_to_bins", (MASK, 3, 3, False, False, -1)),
        ],
    )
    def test_reject_what_does_not_fit(self, name, args):
        with pytest.raises(RuntimeError, match=rf"{name}\b.* must "):
            getattr(torch.ops.cnnfast, name)(*args)

    def test_a_plane_too_wide_for_the_counts(self):
        wide = torch.ones(1, 1, 1, dtype=torch.bool).expand(1, 1, 1 << 30)
        with pytest.raises(RuntimeError, match="less than 2\\^30 rows and columns"):
            torch.ops.cnnfast.truncated_distance_transform(wide, 3.0, False, 1.0, 1.0, False, 0, 0)
