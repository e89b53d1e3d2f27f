"""Which example is seen at which step."""

from __future__ import annotations

from cnnfast.training.batches import TrainingBatches


class TestBatches:
    def test_every_epoch_has_every_example_once(self):
        keys = [key for batch in TrainingBatches(5, 2, 10, seed=3) for key in batch]
        assert [ordinal for ordinal, _ in keys] == list(range(20))
        orders = [[index for _, index in keys[start : start + 5]] for start in range(0, 20, 5)]
        assert all(sorted(order) == list(range(5)) for order in orders) and len({tuple(o) for o in orders}) > 1

    def test_processes_share_what_one_would_see(self):
        whole = list(TrainingBatches(7, 6, 5, seed=1))
        parts = [list(TrainingBatches(7, 2, 5, seed=1, rank=rank, processes=3)) for rank in range(3)]
        for step, batch in enumerate(whole):
            assert sorted(key for part in parts for key in part[step]) == batch

    def test_resumed(self):
        whole = list(TrainingBatches(7, 2, 9, seed=1))
        resumed = TrainingBatches(7, 2, 9, seed=1, start=4)
        assert list(resumed) == whole[4:] and len(resumed) == 5
