"""Draw the state diagrams of ``docs/reference/wire-protocol.md`` from the transition tables, so that they cannot drift.

Writes between the markers in that file; with ``--check`` it writes nothing and fails where it would have changed.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from written_page import write_or_check

HOUSE = Path(__file__).parents[1]
sys.path.insert(0, str(HOUSE))

from scancontrol.wire.transitions import CLIENT, MICROSCOPE, ClientState, State, Step  # noqa: E402

PAGE = HOUSE / "docs" / "reference" / "wire-protocol.md"


def microscope() -> str:
    """The microscope's table: steps with the same ends share an arrow; what blanks and what begins is said."""
    return _diagram(
        State.IDLE,
        [
            (state.name, step.to.name, _label(event.value, step))
            for state, steps in MICROSCOPE.items()
            for event, step in steps.items()
            if not (step.to is state and step.beam != "begin" and step.ends is None)
        ],
    )


def client() -> str:
    """The client's table."""
    return _diagram(
        ClientState.OFFLINE,
        [(state.name, to.name, event.value) for state, steps in CLIENT.items() for event, to in steps.items()],
    )


def microscope_table() -> str:
    """The same as a table, complete: a step that is not here is refused."""
    lines = ["| state | event | to | beam | ends frames with |", "|---|---|---|---|---|"]
    for state, steps in MICROSCOPE.items():
        for event, step in steps.items():
            lines.append(f"| {state.value} | {event.value} | {step.to.value} | {step.beam} | {step.ends or ''} |")
    return "\n".join(lines)


def _label(event: str, step: Step) -> str:
    return f"{event} ▸ {step.beam}" if step.beam == "begin" else event


def _diagram(first: State | ClientState, arrows: list[tuple[str, str, str]]) -> str:
    gathered: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source, target, label in arrows:
        gathered[source, target].append(label)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.name}"]
    lines += [f"    {source} --> {target}: {', '.join(labels)}" for (source, target), labels in gathered.items()]
    return "\n".join([*lines, "```"])


def written(page: str) -> str:
    """The page with what stands between its markers drawn anew."""
    for name, text in (("microscope", microscope()), ("microscope-table", microscope_table()), ("client", client())):
        begin, end = f"<!-- {name}: generated -->", f"<!-- end of {name} -->"
        before, rest = page.split(begin)
        _, after = rest.split(end)
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, written, __doc__))
