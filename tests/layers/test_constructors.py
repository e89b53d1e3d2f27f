"""What the constructors of the layers refuse, before a first call."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cnnfast.layers import ContentLoss, TextureLoss, TVLoss, WassersteinStyleLoss
from tests.layers.layer_cases import TinyFeatures


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ContentLoss(math.nan), ValueError, "ContentLoss: expected a finite weight, got nan"),
        (lambda: ContentLoss("1"), TypeError, "ContentLoss: expected weight a number, got '1'"),
        (lambda: TVLoss(math.inf), ValueError, "TVLoss: expected a finite weight, got inf"),
        (lambda: TVLoss(None), TypeError, "TVLoss: expected weight a number, got None"),
        (lambda: TVLoss(exponent=math.nan), ValueError, "TVLoss: expected a finite exponent, got nan"),
        (lambda: TVLoss(exponent=0), ValueError, "TVLoss: expected a positive exponent, got 0"),
        (lambda: TVLoss()(np.zeros((1, 3, 4, 4))), TypeError, "TVLoss: expected image a torch.Tensor, got ndarray"),
        (lambda: WassersteinStyleLoss(eps="1"), TypeError, "expected eps a number, got '1'"),
        (lambda: WassersteinStyleLoss(eps=math.nan), ValueError, "expected a finite eps, got nan"),
        (lambda: WassersteinStyleLoss(iters=1.5), TypeError, "expected iters an integer, got 1.5"),
        (lambda: TextureLoss(["first"], TinyFeatures()), TypeError, "expected layers a dict of .*, got list"),
        (lambda: TextureLoss({"first": math.nan}, TinyFeatures()), ValueError, "a finite weight of first, got nan"),
        (lambda: TextureLoss({"first": 1.0}, len), TypeError, "expected extractor a module, got builtin_function"),
        (lambda: TextureLoss({"first": 1}, TinyFeatures(), normalize="foo"), ValueError, "normalize .*, got 'foo'"),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_numbers_of_any_kind():
    assert WassersteinStyleLoss(np.float64(2), torch.tensor(1e-3), np.int64(4)).iters == 4
    assert TVLoss(np.float32(2), "iso", exponent=torch.tensor(1.5)).exponent == 1.5
    assert TextureLoss({"first": np.float32(2)}, TinyFeatures()).losses["first"].weight == 2
