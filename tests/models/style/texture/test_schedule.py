"""Coarse-to-fine schedule."""

import pytest

from cnnfast.models.style.texture.presets import TEXTURE_PRESETS
from cnnfast.models.style.texture.schedule import count_levels, plan_levels


@pytest.mark.parametrize(
    ("shortest", "expected"),
    [(1, 1), (63, 1), (64, 1), (127, 1), (128, 2), (255, 2), (256, 3), (511, 3), (512, 4), (1023, 4), (1024, 5)],
)
def test_coarsest_side_has_64_to_127_px(shortest, expected):
    assert count_levels((shortest, 5000), (4000, 3000)) == expected
    assert count_levels((4000, 5000), (3000, shortest)) == expected
    if shortest >= 64:
        assert 64 <= shortest / 2 ** (expected - 1) < 128


def test_both_pictures_shrink_by_the_same_factor():
    plan = plan_levels((300, 260), (512, 777))
    assert [level.sample for level in plan] == [(75, 65), (150, 130), (300, 260)]
    assert [level.picture for level in plan] == [(128, 194), (256, 388), (512, 777)]


def test_finest_level_keeps_odd_sizes():
    for multiple in (1, 16):
        assert plan_levels((129, 131), (257, 255), multiple=multiple)[-1][:2] == ((129, 131), (257, 255))


def test_coarser_periodic_pictures_are_multiples_of_the_stride():
    plan = plan_levels((300, 300), (500, 424), multiple=16)
    assert all(side % 16 == 0 for level in plan[:-1] for side in level.picture)
    assert plan[-1].picture == (500, 424)


def test_small_sizes_never_reach_zero():
    plan = plan_levels((3, 3), (5, 1), levels=4, iterations=(1, 1, 1, 1))
    assert all(min(*level.sample, *level.picture) >= 1 for level in plan)


@pytest.mark.parametrize("preset", TEXTURE_PRESETS)
def test_iterations_of_the_presets(preset):
    coarse, fine = TEXTURE_PRESETS[preset]
    assert [level.iterations for level in plan_levels((256, 256), (256, 256), preset=preset)] == [coarse, coarse, fine]
    assert [level.iterations for level in plan_levels((64, 64), (64, 64), preset=preset)] == [fine]


def test_iterations_by_number_and_by_list():
    coarse, fine = TEXTURE_PRESETS["fast"]
    plan = plan_levels((128, 128), (128, 128), iterations=4 * fine)
    assert [level.iterations for level in plan] == [4 * coarse, 4 * fine]
    assert [level.iterations for level in plan_levels((128, 128), (128, 128), iterations=[7, 0])] == [7, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, "levels to be 'auto' or at least 1, got 0"),
        ({"levels": "many"}, "got 'many'"),
        ({"levels": True}, "got True"),
        ({"iterations": [1, 2, 3]}, "iterations for 2 levels, got 3 numbers"),
        ({"iterations": -1}, "iterations of at least 0, got -1"),
        ({"iterations": [1, 2.5]}, "at least 0, got"),
        ({"preset": "best"}, "preset among .*, got 'best'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        plan_levels((128, 128), (128, 128), **options)
