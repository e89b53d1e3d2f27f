"""`python -m benchmarks`: run the families, keep the results, remake tables and plots."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import families, report
from benchmarks.case import Case
from benchmarks.machine import machine_name, measure_roofline, metadata
from benchmarks.measure import GPU, QUICK, Effort, measure
from benchmarks.report.results import RESULTS, store
from benchmarks.report.tables import table


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=families.names(), help="families to run; default: all of the device"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the operators run")
    parser.add_argument("--cases", default="", help="only cases whose name contains this text; nothing is written")
    parser.add_argument("--quick", action="store_true", help="small shapes, few rounds; nothing is written")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of every implementation")
    parser.add_argument(
        "--budget",
        type=float,
        help="seconds after which only headlines are measured; default on cuda: 120",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--report", action="store_true", help="run nothing, remake tables and plots")
    options = parser.parse_args(arguments)
    on_device = families.names_on(options.device)
    options.only = list(on_device) if options.only is None else options.only
    if absent := [name for name in options.only if name not in on_device]:
        parser.error(f"--device {options.device}: {', '.join(absent)} does not run there, only {', '.join(on_device)}")
    if options.budget is None:
        options.budget = 120.0 if options.device == "cuda" else float("inf")
    return options


def by_importance(cases: Sequence[Case], headline: str | None = None) -> list[Case]:
    """The headline of every group first, then all others; it has the label, or is the first where none has it."""
    headlines = {case.group: case for case in reversed(cases)}
    headlines |= {case.group: case for case in cases if case.label == headline}
    return [*reversed(headlines.values()), *(case for case in cases if case is not headlines[case.group])]


class Run:
    """Records of one family, those of cases in the order in which the family lists them.

    Attributes:
        left_out: number of cases that were not measured because the deadline was over.
    """

    def __init__(self, name: str, options: argparse.Namespace, deadline: float) -> None:
        self.name, self.options, self.deadline = name, options, deadline
        listed = families.cases(name, options.device, options.quick)
        self._cases = [case for case in listed if options.cases in case.name]
        self.roofline = measure_roofline(["float32", *(case.dtype for case in self._cases)], options.device)
        self.left_out = 0
        self.records = list(self._measure())

    def _measure(self) -> Iterator[dict[str, Any]]:
        options = self.options
        effort = QUICK if options.quick else GPU if options.device == "cuda" else Effort()
        made = {}
        headlines = len({case.group for case in self._cases})
        for place, case in enumerate(by_importance(self._cases, families.headline(self.name))):
            if place >= headlines and time.monotonic() > self.deadline:
                self.left_out += 1
                continue
            made[case.name] = self._show(measure(case, self.roofline, effort))
        yield from (made[case.name] for case in self._cases if case.name in made)
        yield from map(self._show, families.runs(self.name, self.roofline, options.quick, options.cases))

    def _show(self, record: dict[str, Any]) -> dict[str, Any]:
        print(f"\n{record['group']}\n{table([record])}", flush=True)
        return record

    def content(self) -> Mapping[str, Any]:
        """What is kept."""
        made = {"metadata": metadata(self.options.device), "roofline": self.roofline, "cases": self.records}
        return made | ({"left_out": self.left_out} if self.left_out else {})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    keep = not (options.quick or options.cases)
    end = time.monotonic() + options.budget
    names = [] if options.report else options.only
    for place, name in enumerate(names):
        print(f"{name}: measuring the machine", file=sys.stderr, flush=True)
        now = time.monotonic()
        # Every family has an equal share of the time that is left.
        run = Run(name, options, now + (end - now) / (len(names) - place))
        if run.left_out:
            print(f"{name}: the time is over, {run.left_out} cases were not measured", file=sys.stderr, flush=True)
        if keep:
            print(store(machine_name(options.threads, options.device), name, run.content(), options.results))
    if keep or options.report:
        for path in report.write(options.results):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
