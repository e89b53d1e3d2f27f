"""Walls between operator families: what csrc/<family>/ defines lies in the namespace cnnfast::<family>.

Two families with an inline function of one name in one namespace would still compile and link, and one of the two
functions would silently run in the other's place.
"""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
FAMILIES = sorted(re.findall(r"^#include CNNFAST_PATH\((\w+)\)$", (CSRC / "families.h").read_text(), re.MULTILINE))
FOLDERS = sorted({path.parent.name for path in CSRC.glob("*/*_cpu.cpp")})
SOURCES = [path for family in FAMILIES for path in sorted((CSRC / family).iterdir())]
OBJECTS = [path for path in sorted(ROOT.glob("build/temp-*/csrc/*/*.o")) if path.parent.name in (*FAMILIES, "core")]

_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_DIRECTIVE = re.compile(r"^\s*#(?:[^\n]*\\\n)*[^\n]*$", re.MULTILINE)
_NAMESPACE = re.compile(r"\bnamespace\s+([\w:]*)\s*\{")
_REGISTRATION = re.compile(r"(?:STABLE_TORCH_LIBRARY_IMPL\(cnnfast, \w+, m\)|CNNFAST_CUDA_LIBRARY\(m\))$")
# The outermost qualifiers of a mangled name: _ZN7cnnfast4gram..., also of what belongs to it (_ZTV, _ZGV, _ZZ...).
_MANGLED = re.compile(r"_Z(?:T[A-Z]|GV|GR|Z|N|K|V|R|O)*(St|S[absiod]|\d+)")
_LIBRARIES = {"St", "Sa", "Ss", "Sb", "Si", "So", "Sd", "torch", "c10", "__gnu_cxx", "__cxxabiv1"}


def outermost(code: str) -> list[str]:
    """The pieces of a file's code that stand in no braces, each up to the brace that follows."""
    code = _DIRECTIVE.sub("", _TEXT.sub("", code))
    pieces, depth, piece = [], 0, ""
    for character in code:
        if character == "{":
            if depth == 0:
                pieces, piece = [*pieces, piece.strip()], ""
            depth += 1
        elif character == "}":
            depth -= 1
        elif depth == 0:
            piece += character
    return [*pieces, piece.strip()]


def outside(path: Path) -> list[str]:
    """What a file of a family has outside of the family's namespace and of the registrations of operators."""
    family = path.parent.name
    pieces = outermost(path.read_text())
    if path.name == "schemas.h":  # stands in the body of a registration
        return [piece for piece in pieces if re.sub(r"m\.def\(\s*\);", "", piece).strip()]
    found = [piece for piece in pieces if piece not in ("", f"namespace cnnfast::{family}")]
    return [piece for piece in found if not _REGISTRATION.match(piece)]


def qualifiers(symbol: str) -> list[str]:
    """The first two names of a mangled symbol; one for a function outside of all namespaces."""
    match = _MANGLED.match(symbol)
    if match is None:
        return [symbol]
    names, at = [], match.start(1)
    while len(names) < 2 and (name := re.compile(r"St|S[absiod]|(\d+)").match(symbol, at)):
        if name[1] is None:
            return [*names, name[0]]
        length = int(name[1])
        names.append(symbol[name.end() : name.end() + length])
        at = name.end() + length
    return names


def external_symbols(path: Path) -> set[str]:
    """The symbols that an object file defines for others, weak ones included."""
    if shutil.which("nm") is None:
        pytest.skip("nm (binutils) is not installed")
    told = subprocess.run(["nm", "--defined-only", str(path)], capture_output=True, text=True, check=True).stdout
    found = {name for _, kind, name in (line.split(maxsplit=2) for line in told.splitlines()) if kind.isupper()}
    return {name for name in found if not name.startswith("DW.ref.")}


def in_core(name: str) -> bool:
    """Whether a file of csrc/core/ holds the name, which cnnfast itself then defines."""
    return any(re.search(rf"\b{name}\b", path.read_text()) for path in (CSRC / "core").iterdir())


def test_every_folder_with_kernels_is_in_the_list():
    assert FAMILIES == FOLDERS


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_opens_its_familys_namespace_alone(path):
    assert outside(path) == []
    opened = set(_NAMESPACE.findall(_TEXT.sub("", path.read_text())))
    assert opened <= {f"cnnfast::{path.parent.name}", ""}


@pytest.mark.skipif(not OBJECTS, reason="built elsewhere: no object files beside the sources")
@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_external_symbols_lie_in_the_familys_namespace(path):
    strange = []
    for symbol in external_symbols(path):
        names = qualifiers(symbol)
        if names[0] in _LIBRARIES:
            continue
        ours = names[0] == "cnnfast" and len(names) == 2
        owners = FAMILIES if path.parent.name == "core" else [path.parent.name]
        if not (ours and (names[1] in owners or in_core(names[1]))):
            strange.append(symbol)
    assert strange == []


@pytest.mark.skipif(not OBJECTS, reason="built elsewhere: no object files beside the sources")
def test_no_name_is_defined_by_two_families():
    definers = defaultdict(set)
    for path in OBJECTS:
        for symbol in external_symbols(path):
            if path.parent.name != "core" and qualifiers(symbol)[0] not in _LIBRARIES:
                definers[symbol].add(path.parent.name)
    shared = [symbol for symbol, families in definers.items() if len(families) > 1]
    assert [symbol for symbol in shared if not in_core(qualifiers(symbol)[-1])] == []
