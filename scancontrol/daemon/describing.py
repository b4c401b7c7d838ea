"""What the next recordings say of themselves: as it is configured, until the operator types something else.

What was typed is kept in a small file beside the recordings, so that a daemon that is started again goes on with the
same specimen and counts in the same dose ledger. It holds for one microscope, and until what it replaced is configured
anew: then the configuration is obeyed again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import msgspec

from scancontrol.daemon.config import DaemonConfig, SpecimenConfig, StageConfig
from scancontrol.errors import InvalidInput
from scancontrol.files import read_bytes, writing
from scancontrol.processes.printable import printable
from scancontrol.recording import About
from scancontrol.recording.planned import plain_name

__all__ = ["Describing", "Description", "DescriptionChange"]

log = logging.getLogger(__name__)

_FILE_BYTES = 1 << 16
Line = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Micrometres = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a recording is of. ``stage_um`` is (y, x) of the centre of the field on the specimen.

    Raises:
        InvalidInput: the specimen's id is not a plain name.
    """

    specimen: str = SpecimenConfig().id  # whose dose ledger counts
    stage_um: tuple[float, float] = (0.0, 0.0)
    operator: str = ""
    project: str = ""
    sample: str = ""  # description of the specimen
    notes: str = ""

    def __post_init__(self) -> None:
        self.in_ledger(SpecimenConfig())

    def in_ledger(self, config: SpecimenConfig) -> SpecimenConfig:
        """The specimen and its place, with the limits of ``config``."""
        y, x = self.stage_um
        return msgspec.structs.replace(config, id=self.specimen, stage_um=StageConfig(x=x, y=y))


class DescriptionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be said differently; None leaves a field as it is."""

    specimen: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    stage_um: tuple[Micrometres, Micrometres] | None = None
    operator: Line | None = None
    project: Line | None = None
    sample: Text | None = None
    notes: Text | None = None

    def of(self, before: Description) -> Description:
        """``before`` with what is given here, without control characters.

        Raises:
            InvalidInput: the specimen's id is not a plain name.
        """
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        for name in ("operator", "project", "sample", "notes"):
            if name in given:
                given[name] = printable(given[name], lines=name == "notes").strip()
        return msgspec.structs.replace(before, **given)


class _Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: what was typed, and what was configured then."""

    configured: Description
    typed: Description


class Describing:
    """The description in force; ``now`` is replaced as a whole and may be read from any thread."""

    def __init__(self, config: DaemonConfig, folder: Path) -> None:
        stage, about = config.specimen.stage_um, config.about
        self._file = folder / f"description.{plain_name(config.microscope)}.json"
        self._settings = about.detector_settings
        self._configured = Description(
            specimen=config.specimen.id,
            stage_um=(stage.y, stage.x),
            operator=config.operator,
            project=about.project,
            sample=about.sample,
            notes=about.notes,
        )
        self.now = self._kept() or self._configured

    def change(self, change: DescriptionChange) -> Description:
        """Say it differently from the next recording on; returns what is said then.

        Raises:
            InvalidInput: the specimen's id is not a plain name.
            StorageError: it cannot be kept; nothing is changed.
        """
        typed = change.of(self.now)
        if typed != self.now:
            with writing(self._file, "description") as file:
                file.write_bytes(msgspec.json.encode(_Kept(configured=self._configured, typed=typed)))
            self.now = typed
        return typed

    def about(self) -> About:
        """The words of it, as they stand in a recording."""
        now = self.now
        return About(
            operator=now.operator,
            project=now.project,
            sample=now.sample,
            notes=now.notes,
            detector_settings=self._settings,
        )

    def _kept(self) -> Description | None:
        if not self._file.exists():
            return None
        try:
            kept = msgspec.json.decode(read_bytes(self._file, "description", "remove it", _FILE_BYTES), type=_Kept)
        except (InvalidInput, msgspec.MsgspecError, RecursionError) as error:
            log.warning("%s is left aside: %s", self._file, error)
            return None
        return kept.typed if kept.configured == self._configured else None
