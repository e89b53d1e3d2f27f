"""The sample of the quick tests has every pair, is small, and is the same in every run."""

from __future__ import annotations

import itertools

import pytest

from tests.covering import combinations_of, covering

AXES = [range(4), "abc", [True, False], range(5), [None, 1, 2]]
PRODUCT = list(itertools.product(*AXES))


@pytest.mark.parametrize("strength", [1, 2, 3])
def test_every_combination_occurs(strength):
    chosen = [PRODUCT[index] for index in covering(PRODUCT, strength)]
    found = {combination for row in chosen for combination in combinations_of(row, strength)}
    assert found == {combination for row in PRODUCT for combination in combinations_of(row, strength)}


@pytest.mark.parametrize(("strength", "most"), [(1, 5), (2, 26), (3, 100)])
def test_few_rows(strength, most):
    assert len(covering(PRODUCT, strength)) <= most < len(PRODUCT)


def test_same_rows_in_every_run():
    assert covering(PRODUCT) == covering(list(PRODUCT))


def test_rows_that_are_no_product():
    rows = [row for row in PRODUCT if row[0] != 3 or row[1] == "a"]
    pairs = {pair for row in rows for pair in combinations_of(row, 2)}
    assert {pair for index in covering(rows) for pair in combinations_of(rows[index], 2)} == pairs


def test_nothing_and_one_column():
    assert covering([]) == []
    assert covering([("a",), ("b",), ("a",)]) in ([0, 1], [1, 2])
