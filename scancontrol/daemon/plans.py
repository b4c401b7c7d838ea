"""The plans that a Start may name: those of the configuration, and presets that were saved from page or script.

A preset is one YAML file in the presets' folder, which ``scancontrol plan`` and ``--plan`` read as any other.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scancontrol.errors import InvalidInput, ScanControlError, StorageError
from scancontrol.files import convert, to_yaml, write_text
from scancontrol.paths.patterns.points import Points
from scancontrol.plan.plan import ScanPlan, load_plan

__all__ = ["MAX_PRESETS", "PlanBook", "load_plans", "plan_of"]

MAX_PRESETS: Final = 200
_PRESET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")


def load_plans(files: Sequence[Path], base: Path) -> dict[str, ScanPlan]:
    """The plans of a configuration by name; their files are relative to ``base``.

    Raises:
        InvalidInput: one cannot be, or two have one name.
    """
    plans: dict[str, ScanPlan] = {}
    for file in files:
        plan = load_plan(base / file)
        if plan.name in plans:
            raise InvalidInput("plan name", plan.name, "is used by two plans", "give each plan a name of its own")
        plans[plan.name] = plan
    return plans


class PlanBook:
    """What is offered, by name. Methods may be called from any thread.

    Args:
        configured: the plans of the configuration, which nobody changes from here.
        folder: of the presets; made when the first is saved.
        say: takes a line for the operator and its level.
    """

    def __init__(self, configured: Mapping[str, ScanPlan], folder: Path, say: Callable[[str, str], None]) -> None:
        self._configured, self._folder = dict(configured), folder
        self._lock = threading.Lock()
        self._presets = _load_presets(folder, self._configured, say)  # replaced as a whole, never changed

    @property
    def names(self) -> tuple[str, ...]:
        """Of the configuration first, then the presets in the order of their names."""
        return (*self._configured, *self._presets)

    def offered(self) -> tuple[tuple[ScanPlan, bool], ...]:
        """Every plan, and whether it is a preset, in the order of :attr:`names`."""
        presets = self._presets
        return (*((plan, False) for plan in self._configured.values()), *((plan, True) for plan in presets.values()))

    def find(self, asked: str | Mapping[str, Any]) -> ScanPlan:
        """The plan that is offered under a name, or the one that these keys and values are.

        Raises:
            InvalidInput: there is none of that name, or they are no plan.
        """
        if not isinstance(asked, str):
            return plan_of(asked)
        plan = self._configured.get(asked) or self._presets.get(asked)
        if plan is None:
            raise InvalidInput("plan", asked, "is not offered", f"choose of {', '.join(self.names) or 'none'}")
        return plan

    def save(self, plan: ScanPlan, *, replace: bool) -> None:
        """Offer a plan from now on, and in every later process.

        Raises:
            InvalidInput: its name is taken, or cannot be that of a file; or there are too many.
            StorageError: it cannot be written.
        """
        if not _PRESET_NAME.fullmatch(plan.name):
            raise InvalidInput(
                "preset's name",
                repr(plan.name[:80]),
                "is not of 1 to 80 letters, digits, blanks, '.', '_' and '-', a letter or digit first",
                "give a plainer one",
            )
        with self._lock:
            if plan.name in self._configured:
                raise InvalidInput("preset's name", plan.name, "is a plan of the configuration", "give it another name")
            taken = {name.lower() for name in self._presets} - ({plan.name.lower()} if replace else set())
            if plan.name.lower() in taken:  # some disks hold the two for one file
                raise InvalidInput("preset's name", plan.name, "is taken", "replace that preset, or give another name")
            if len(self._presets) >= MAX_PRESETS and plan.name not in self._presets:
                raise InvalidInput("presets", len(self._presets), "are as many as are kept", "delete one first")
            _make(self._folder)
            write_text(self._folder / f"{plan.name}.yaml", to_yaml(plan))
            self._presets = dict(sorted({**self._presets, plan.name: plan}.items()))

    def delete(self, name: str) -> None:
        """Offer a preset no more.

        Raises:
            InvalidInput: it is none.
            StorageError: its file cannot be removed.
        """
        with self._lock:
            if name in self._configured:
                remedy = "take it out of the configuration's plans"
                raise InvalidInput("preset", name, "is a plan of the configuration", remedy)
            if name not in self._presets:
                remedy = f"choose of {', '.join(self._presets) or 'none'}"
                raise InvalidInput("preset", name, "is not there", remedy)
            file = self._folder / f"{name}.yaml"
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                limit = f"cannot be removed ({error.strerror})"
                raise StorageError("preset", file, limit, "see the rights of its folder") from error
            self._presets = {other: plan for other, plan in self._presets.items() if other != name}


def plan_of(content: Mapping[str, Any]) -> ScanPlan:
    """The plan that keys and values describe, as they come over the network.

    Raises:
        InvalidInput: they are no plan, or name a file, which a stranger has no say in.
    """
    plan = convert(dict(content), ScanPlan, "the plan")
    for pattern in plan.patterns:
        if isinstance(pattern, Points) and pattern.file is not None:
            remedy = "send the positions themselves, or name the plan in the daemon's configuration"
            raise InvalidInput("file", pattern.file, "is not read for a plan that was sent", remedy)
    return plan


def _load_presets(
    folder: Path, configured: Mapping[str, ScanPlan], say: Callable[[str, str], None]
) -> dict[str, ScanPlan]:
    """What is in the folder; what is no preset is said and passed over."""
    presets: dict[str, ScanPlan] = {}
    for file in sorted(folder.glob("*.yaml"))[:MAX_PRESETS]:
        try:
            plan = load_plan(file)
        except ScanControlError as error:
            say(f"preset {file.name} is not offered: {error}", "warning")
            continue
        if plan.name != file.stem or plan.name in configured:
            say(f"preset {file.name} is not offered: its name, {plan.name}, is another plan's or file's", "warning")
            continue
        presets[plan.name] = plan
    return presets


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be made ({error.strerror})"
        raise StorageError("presets' folder", folder, problem, "choose another as presets") from error
