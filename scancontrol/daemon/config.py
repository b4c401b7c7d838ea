"""What the daemon is told: where the microscope is, which plans it offers, where recordings go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from scancontrol.dose.ledger import check_specimen
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput
from scancontrol.recording import About
from scancontrol.transport.keys import ClientSecurity

__all__ = ["AboutConfig", "DaemonConfig", "KeysConfig", "PageConfig", "RestorerConfig", "SpecimenConfig", "StageConfig"]

UNNAMED = "unnamed"


class PageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The live page. Port 0 takes any free one; an address that is not loopback needs ``tls`` files."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InvalidInput("page.port", self.port, "is outside 0 to 65535", "give a free port, or 0 for any")


class KeysConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """CURVE keys for a microscope that is not on this machine; ``scancontrol keys`` makes them."""

    secret_key: Path  # this daemon's own
    microscope_key: Path  # the public key of the microscope's server

    def security(self, base: Path) -> ClientSecurity:
        """The key files, relative to ``base``.

        Raises:
            InvalidInput: one cannot be used.
        """
        security = ClientSecurity(base / self.secret_key, base / self.microscope_key)
        security.check()
        return security


class RestorerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The restorer's process. ``method`` auto takes the shipped generator, or the best fill that keeps up.

    With ``memory`` above 1 a picture is made from so many frames, older ones moved by the drift that is measured.
    """

    enabled: bool = True
    method: str = "auto"
    weights: Path | None = None
    device: str = "auto"
    threads: int | None = None
    memory: int = 1  # frames
    channel: str = ""  # detector that is restored and shown; the first of the plan where it is not recorded

    def __post_init__(self) -> None:
        if not 1 <= self.memory <= 64:
            raise InvalidInput("restorer.memory", self.memory, "is outside 1 to 64 frames", "give 1 for none")


class StageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where on the specimen the centre of the field is, in µm."""

    x: float = 0.0
    y: float = 0.0


class SpecimenConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose dose ledger the scans count in, where on it, and what it stands."""

    id: str = UNNAMED
    stage_um: StageConfig = StageConfig()
    limits: DoseLimits = DoseLimits()

    def __post_init__(self) -> None:
        check_specimen(self.id)


class AboutConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every recording says of itself beside operator, specimen, stage position and microscope; see ``About``."""

    project: str = ""
    sample: str = ""
    notes: str = ""
    detector_settings: dict[str, dict[str, str | float]] = {}

    def __post_init__(self) -> None:
        self.by("")  # its own bounds

    def by(self, operator: str) -> About:
        """As it stands in a recording."""
        return About(
            operator=operator,
            project=self.project,
            sample=self.sample,
            notes=self.notes,
            detector_settings=self.detector_settings,
        )


class DaemonConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One acquisition daemon. Paths that a file names are from its own folder; see :func:`scancontrol.files.beside`."""

    microscope: str
    plans: tuple[Path, ...] = ()
    presets: Path | None = None  # folder of plans saved from the page; "presets" in the output folder if not given
    output: Path = Path("runs")
    operator: str = "operator"
    about: AboutConfig = AboutConfig()
    keys: KeysConfig | None = None  # needed for every address that is not loopback
    store_restorations: Literal["all", "last", "none"] = "all"
    fsync: bool = False  # wait for the disk itself, not only for the operating system, before acknowledging
    keep_last: int = 0  # recordings to keep of a plan that is repeated without end; 0 keeps all
    connect_timeout_s: float = 5.0
    on_interrupted: Literal["resume", "end"] = (
        "end"  # what is done with the newest recording that was cut off; older ones are ended
    )
    specimen: SpecimenConfig = SpecimenConfig()
    ledger: Path | None = None  # folder of the dose ledgers; "ledger" in the output folder where it is not given
    status_port: int = 0  # of loopback, for scancontrol status and Prometheus; 0 takes any free one
    page: PageConfig = PageConfig()
    restorer: RestorerConfig = RestorerConfig()
    compensate_drift: bool = False  # move each frame's region with the drift that the restorer foretells

    def __post_init__(self) -> None:
        if self.compensate_drift and not (self.restorer.enabled and self.restorer.memory > 1):
            raise InvalidInput(
                "compensate_drift",
                "true",
                "needs a drift that is measured, and frames that remember nothing measure none",
                "enable the restorer and set restorer.memory to 2 or more",
            )
        if self.keep_last < 0:
            raise InvalidInput("keep_last", self.keep_last, "is below 0", "give 0 to keep every recording")
        if not 0 <= self.status_port <= 65535:
            raise InvalidInput("status_port", self.status_port, "is outside 0 to 65535", "give a free port, or 0")
        if not 0 < self.connect_timeout_s <= 600:
            raise InvalidInput("connect_timeout_s", self.connect_timeout_s, "is outside 0 to 600", "give a few seconds")
