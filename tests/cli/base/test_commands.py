"""Command lines from dataclasses: names, defaults, order, limits, and modules that are imported on first use."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cnnfast._errors import InputError
from cnnfast._options import argument, option, options_of
from cnnfast.cli.base.commands import build_command, build_group, check_limits


@dataclass(kw_only=True)
class Common:
    output: Path = option("file to write", "-o", "--output")
    seed: int = option("of the noise", default=0, minimum=0)
    device: str = option("to work on", default="auto", choices=("auto", "cpu"))


@dataclass(kw_only=True)
class Options(Common):
    source: Path = argument("file to read")
    seed: int = option("of the drawing", default=7)
    batch_size: int | None = option("at once", default=None, minimum=1)
    masks: list[Path] = option("regions", "--mask", default=list)
    flip: bool = option("mirror", default=True)
    frozen: bool | None = option("keep", default=None)
    strict: bool = option("refuse", default=False)
    size: str = option("in px", default="8", after="output")


def call(*words: str) -> Options:
    seen: list[Options] = []

    def run(options: Options) -> int:
        seen.append(options)
        return 3

    command = build_command("work", "Do it.", Options, run)
    assert command.main(list(words), prog_name="work", standalone_mode=False) == 3
    return seen[0]


def test_defaults():
    options = call("in.png", "-o", "out.png")
    assert options == Options(source=Path("in.png"), output=Path("out.png"))
    assert (options.seed, options.masks, options.flip, options.frozen, options.strict) == (7, [], True, None, False)


def test_values():
    words = "in.png --output out.png --seed 3 --batch-size 2 --mask a.png --mask b.png --no-flip --no-frozen --strict"
    options = call(*words.split())
    assert options.masks == [Path("a.png"), Path("b.png")] and options.batch_size == 2 and options.seed == 3
    assert (options.flip, options.frozen, options.strict) == (False, False, True)


def test_order_and_help(capsys):
    names = [field.name for field, _ in options_of(Options)]
    assert names == ["output", "size", "seed", "batch_size", "masks", "flip", "frozen", "strict", "device", "source"]
    command = build_command("work", "Do it.\n\nSlowly.", Options, lambda options: 0)
    command.main(["--help"], prog_name="work", standalone_mode=False)
    shown = capsys.readouterr().out
    assert "Do it.\n\n  Slowly." in shown and "of the drawing" in shown and "of the noise" not in shown
    assert "--flip / --no-flip" in shown and "--no-strict" not in shown
    places = [shown.index(name) for name in ("--output", "--size", "--seed", "--batch-size", "--mask", "--device")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"device": "tpu"}, "--device: expected auto or cpu, got 'tpu'"),
        ({"batch_size": 0}, "--batch-size: expected at least 1, got 0"),
    ],
)
def test_limits(given, words):
    with pytest.raises(InputError, match=words):
        check_limits(Options(source=Path("a"), output=Path("b"), **given))


def test_modules_are_imported_on_first_use(tmp_path, monkeypatch, capsys):
    lines = "from dataclasses import dataclass", "@dataclass", "class Options: pass", "def run(options): return 5"
    (tmp_path / "lazy_room.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    group = build_group("all", "All of them.", {"work": ("lazy_room", "Work hard.\n\nMore.")}, default="work")
    group.main(["--help"], prog_name="all", standalone_mode=False)
    assert "All of them." in capsys.readouterr().out and "lazy_room" not in sys.modules
    assert group.main(["work"], prog_name="all", standalone_mode=False) == 5 and "lazy_room" in sys.modules
    assert group.main([], prog_name="all", standalone_mode=False) == 5
    monkeypatch.delitem(sys.modules, "lazy_room")
