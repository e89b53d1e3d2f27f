"""The files in benchmarks/results/: one a machine, in it a suite a family."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import families

SCHEMA = 1
STATUSES = ("ok", "absent", "failed", "wrong")
FOLDER = Path(__file__).parents[1]
RESULTS = FOLDER / "results"
_METADATA = ("cpu", "threads", "capability", "torch", "cnnfast", "commit", "python", "system", "date")
_TIMES = ("median_s", "q1_s", "q3_s", "samples")


def validate(document: Mapping[str, Any]) -> None:
    """Raise ValueError unless a document is one that the tables can be made from."""
    if document.get("schema") != SCHEMA:
        raise ValueError(f"validate: expected schema {SCHEMA}, got {document.get('schema')!r}")
    for name, suite in document["suites"].items():
        if name not in families.names():
            raise ValueError(f"validate: expected a suite among {', '.join(families.names())}, got {name!r}")
        for key in _METADATA:
            _require(key in suite["metadata"], name, f"metadata.{key}")
        _require(suite["roofline"]["bytes_per_s"] > 0, name, "roofline.bytes_per_s")
        for case in suite["cases"]:
            where = f"{name}, {case.get('group')}, {case.get('label')}"
            for key in ("group", "label", "dtype", "results"):
                _require(key in case, where, key)
            _require("bound_s" not in case or case["bound_s"] > 0, where, "bound_s")
            for who, result in case["results"].items():
                _validate_result(result, f"{where}, {who}")


def _validate_result(result: Mapping[str, Any], where: str) -> None:
    _require(result.get("status") in STATUSES, where, "status")
    if result["status"] == "ok":
        for key in _TIMES:
            _require(result.get(key, 0) > 0, where, key)
        _require(result["q1_s"] <= result["median_s"] <= result["q3_s"], where, "quartiles in order")
    else:
        _require(bool(result.get("reason")), where, "reason")


def _require(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise ValueError(f"validate: expected {what} in {where}, got none or a wrong one")


def load(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All documents of a folder, validated, in the order of their machines' names."""
    documents = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for document in documents:
        validate(document)
    return documents


def store(machine: str, suite: str, content: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Put one suite into a machine's file, leaving its other suites alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{machine}.json"
    document = json.loads(path.read_text()) if path.is_file() else {"schema": SCHEMA, "machine": machine, "suites": {}}
    document["suites"][suite] = content
    validate(document)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(path)
    return path


def device(document: Mapping[str, Any]) -> str:
    """The device that a machine's results are of."""
    return "cuda" if any("gpu" in suite["metadata"] for suite in document["suites"].values()) else "cpu"


def describe(about: Mapping[str, Any]) -> str:
    """The machine in a few words, from the metadata of a suite."""
    return about["gpu"] if "gpu" in about else f"{about['cpu']}, {about['capability']}, {about['threads']} threads"


def not_measured(document: Mapping[str, Any]) -> list[str]:
    """The families that run on a machine's device and that its results lack."""
    return [name for name in families.names_on(device(document)) if name not in document["suites"]]
