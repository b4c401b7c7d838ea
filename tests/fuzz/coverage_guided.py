"""Coverage-guided fuzzing of the same targets: ``python tests/fuzz/coverage_guided.py TARGET [libFuzzer options]``.

Needs ``atheris`` (Apache-2.0), which the project does not install: put it into an environment of its own. Findings
become cases in :mod:`test_fuzz_found`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

_LOOKED_INTO = ["scancontrol", "simulators", "fuzz_targets", "yaml"]

with atheris.instrument_imports(include=_LOOKED_INTO):
    from fuzz_targets import TARGETS


def main() -> None:
    name = sys.argv.pop(1)
    target = TARGETS[name]
    corpus = Path(f"/tmp/fuzz-corpus-{name}")
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], lambda data: target.run(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
