"""Results for which there is no memory: one sentence that names the function, nothing of C++ on stderr."""

from __future__ import annotations

import pytest
import torch

from cnnfast import ops

PIXEL = torch.ones(1, 1, 1)
MANY = torch.ones((), dtype=torch.bool).expand(2**24, 2**24)  # 256 TiB that nobody can have


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("disc_sum", lambda: ops.disc_sum(PIXEL.expand(2**20, 1, 1, 1), [0], pad=32767)),
        ("disc_max", lambda: ops.inverse_distance_transform(PIXEL.expand(2**20, 1, 1, 1), [32767], union="max")),
        ("disc_union", lambda: ops.disc_union(PIXEL.byte().expand(2**20, 1, 1), [0], pad=32767)),
        ("disc_sum", lambda: torch.ops.cnnfast.disc_sum(PIXEL[None], [0], None, 2**31, False)),
        ("gram", lambda: ops.gram_matrix(PIXEL.expand(1, 2**24, 1))),
        ("truncated_distance_transform", lambda: ops.truncated_distance_transform(MANY, 3)),
        ("mask_to_bins", lambda: ops.mask_to_bins(MANY, 9, 5, one_hot=True)),
    ],
)
def test_no_memory(name, make, capfd):
    with pytest.raises(RuntimeError, match=rf"{name}: expected memory for a result of \S+ GiB, got none") as caught:
        make()
    assert "\n" not in str(caught.value).strip() and capfd.readouterr().err == ""
