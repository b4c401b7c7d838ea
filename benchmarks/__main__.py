"""``python -m benchmarks [NAME ...]``: run the measurements, print their tables, write their figures as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
from pathlib import Path

import benchmarks

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    names = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run (default: all of {', '.join(names)})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON files")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(names)
    if unknown:
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    for name in arguments.names or names:
        print(f"\n== {name}")
        figures = importlib.import_module(f"benchmarks.{name}").run()
        text = json.dumps({"benchmark": name, "machine": machine, "figures": figures}, indent=2)
        (arguments.out / f"{name}.json").write_text(text + "\n")
    return 0


raise SystemExit(main())
