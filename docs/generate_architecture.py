"""Draw the rooms of ``docs/explanation/architecture.md`` from the imports, and check that what it names exists.

Writes between the markers in that file; with ``--check`` it writes nothing and fails where it would have changed. What
the page names as ``module:name`` in backticks has to be there, in either case.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import grimp
from written_page import write_or_check

HOUSE = Path(__file__).parents[1]
sys.path.insert(0, str(HOUSE))

PAGE = HOUSE / "docs" / "explanation" / "architecture.md"
PACKAGES = ("scancontrol", "restore", "simulators")
_NAMED = re.compile(r"`((?:scancontrol|restore|simulators)(?:\.\w+)*):([\w.]+)`")

Arrows = dict[str, set[str]]


def rooms_of(package: str) -> list[str]:
    """The package's own modules and packages, but for what Python wants of it."""
    found = (path for path in (HOUSE / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())
    return sorted(path.stem for path in found if not path.stem.startswith("__"))


def arrows_of(graph: grimp.ImportGraph, package: str) -> Arrows:
    """Which rooms of a package import which others of it."""
    arrows: Arrows = {room: set() for room in rooms_of(package)}
    for module in graph.modules:
        parts = module.split(".")
        if parts[0] != package or len(parts) < 2 or parts[1] not in arrows:
            continue
        for imported in graph.find_modules_directly_imported_by(module):
            other = imported.split(".")
            if other[0] == package and len(other) > 1 and other[1] in arrows and other[1] != parts[1]:
                arrows[parts[1]].add(other[1])
    return arrows


def floors_of(arrows: Arrows) -> list[list[str]]:
    """Rooms by floor, the top one first: a room stands one floor above the highest that it imports."""
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            heights[room] = 1 + max((height(below) for below in arrows[room]), default=-1)
        return heights[room]

    by_floor: dict[int, list[str]] = {}
    for room in sorted(arrows):
        by_floor.setdefault(height(room), []).append(room)
    return [by_floor[floor] for floor in sorted(by_floor, reverse=True)]


def _reachable(arrows: Arrows, room: str) -> Iterator[str]:
    for below in arrows[room]:
        yield below
        yield from _reachable(arrows, below)


def diagram(arrows: Arrows) -> str:
    """Mermaid: arrows that a longer way does not already say."""
    lines = ["```mermaid", "flowchart TD"]
    for room in sorted(arrows):
        longer = {far for below in arrows[room] for far in _reachable(arrows, below)}
        lines += [f"    {room} --> {below}" for below in sorted(arrows[room] - longer)]
    return "\n".join([*lines, "```"])


def counted(arrows: Arrows) -> str:
    """How many rooms, imports between them, and arrows of the diagram there are."""
    imports = sum(map(len, arrows.values()))
    drawn = diagram(arrows).count(" --> ")
    return f"{len(arrows)} rooms; {imports} of their pairs import, {drawn} are drawn: a longer way says the others."


def _purpose(package: str, room: str) -> str:
    """The first sentence of what a room says of itself, without markup."""
    folder = HOUSE / package / room
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    first = re.split(r"(?<=\.)\s", said.replace("\n", " "), maxsplit=1)[0]
    return re.sub(r":\w+:`[.~]*([^`]*)`", r"`\1`", first).replace("``", "`").rstrip(".")


def table(package: str, arrows: Arrows) -> str:
    """A row for each room, from the top floor down."""
    lines = ["| floor | room | what it is |", "|---|---|---|"]
    floors = floors_of(arrows)
    for number, floor in enumerate(floors):
        for room in floor:
            named = f"`{room}/`" if (HOUSE / package / room).is_dir() else f"`{room}.py`"
            lines.append(f"| {len(floors) - number} | {named} | {_purpose(package, room)} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with what stands between its markers drawn anew."""
    graph = grimp.build_graph(*PACKAGES)
    for package in PACKAGES:
        arrows = arrows_of(graph, package)
        begin, end = f"<!-- {package}: generated -->", f"<!-- end of {package} -->"
        before, rest = page.split(begin)
        _, after = rest.split(end)
        page = f"{before}{begin}\n{counted(arrows)}\n\n{diagram(arrows)}\n\n{table(package, arrows)}\n{end}{after}"
    return page


def missing(page: str) -> list[str]:
    """What the page names and nobody has."""
    gone = []
    for module, name in _NAMED.findall(page):
        try:
            attrgetter(name)(importlib.import_module(module))
        except (ImportError, AttributeError):
            gone.append(f"{module}:{name}")
    return gone


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, written, __doc__, missing))
