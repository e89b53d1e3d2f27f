"""`python -m benchmarks`: run the suites, keep the results, remake tables and plots."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import (
    bench_convolution,
    bench_discs,
    bench_distance,
    bench_gram,
    bench_lbfgs,
    bench_style,
    bench_style_levers,
    bench_texture_step,
    report,
)
from benchmarks.common import GPU, QUICK, Effort, machine_name, metadata
from benchmarks.roofline import measure_roofline

_SUITES = {
    "gram": bench_gram.run,
    "convolution": bench_convolution.run,
    "texture_step": bench_texture_step.run,
    "style": bench_style.run,
    "style_levers": bench_style_levers.run,
    "lbfgs": bench_lbfgs.run,
    "distance": bench_distance.run,
    "discs": bench_discs.run,
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(_SUITES), default=list(_SUITES), help="suites to run")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: the suite gram alone")
    parser.add_argument("--cases", default="", help="only cases whose name contains this text; nothing is written")
    parser.add_argument("--quick", action="store_true", help="small shapes, few rounds; nothing is written")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of every implementation")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="folder of the results")
    parser.add_argument("--report", action="store_true", help="run nothing, remake tables and plots")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and options.only != ["gram"]:
        parser.error("--device cuda: only the suite gram runs on a GPU; add --only gram")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    keep = not (options.quick or options.cases)
    for name in [] if options.report else options.only:
        print(f"{name}: measuring the machine", file=sys.stderr, flush=True)
        roofline = measure_roofline(device=options.device)
        effort = QUICK if options.quick else GPU if options.device == "cuda" else Effort()
        cases = []
        run = functools.partial(_SUITES[name], roofline, effort, quick=options.quick, cases=options.cases)
        for case in run(device="cuda") if options.device == "cuda" else run():
            cases.append(case)
            print(f"\n{case['group']}\n{report.table([case])}", flush=True)
        if keep:
            content = {"metadata": metadata(options.device), "roofline": roofline, "cases": cases}
            print(report.store(machine_name(options.threads, options.device), name, content, options.results))
    if keep or options.report:
        for path in report.write(options.results):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
