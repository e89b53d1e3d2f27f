"""`python -m benchmarks.mnc_toy`: cascades with object masks and with binary masks on the same synthetic scenes."""

from __future__ import annotations

import argparse
import sys
import time

import torch

from cnnfast.models.instance_segmentation.mnc.network import MASK_HEADS
from cnnfast.models.instance_segmentation.mnc_toy import CascadeToyResult, CascadeToySettings, run_cascade_toy

_PROGRESS = 50


def _note(mask_head: str, step: int, loss: float) -> None:
    if step % _PROGRESS == 0:
        print(f"{mask_head}: step {step}, loss {loss:.2f}", file=sys.stderr, flush=True)


def _row(mask_head: str, seed: int, result: CascadeToyResult, seconds: float) -> str:
    perturbed = (f"{score.ap:.3f} / {score.iou:.3f} / {score.share:.3f}" for score in result.perturbed)
    columns = [mask_head, str(seed), f"{result.ap50:.3f}", f"{result.ap70:.3f}", *perturbed, f"{seconds:.0f}"]
    return f"| {' | '.join(columns)} |"


def main() -> None:
    """Print a table, one row a run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mnc_toy", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run of each mask head for each")
    parser.add_argument("--heads", nargs="+", choices=MASK_HEADS, default=list(MASK_HEADS), help="mask heads")
    parser.add_argument("--steps", type=int, default=CascadeToySettings.steps, help="of training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = CascadeToySettings(steps=options.steps)
    ranges = [f"boxes of IoU {low:g}-{high:g}: AP^r .7 / mIoU / share >= .7" for low, high in settings.test_ious]
    columns = ["masks", "seed", "AP^r .5", "AP^r .7", *ranges, "s"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for seed in options.seeds:
        for mask_head in options.heads:
            start = time.perf_counter()
            result = run_cascade_toy(mask_head, seed, settings, callback=_note)
            print(_row(mask_head, seed, result, time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
