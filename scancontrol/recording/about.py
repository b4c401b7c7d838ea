"""What a recording is of, in the words of those who made it: beside the samples for whoever opens the file later."""

from __future__ import annotations

import msgspec

from scancontrol.errors import InvalidInput

__all__ = ["About"]

_LONGEST = 4000


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who recorded, for which project, with which settings of the detectors, and what else there is to say.

    ``detector_settings`` are free words and numbers by detector, such as ``{HAADF: {inner_mrad: 68, gain: "3"}}``.

    Raises:
        InvalidInput: a text is longer than anybody reads.
    """

    operator: str = ""
    project: str = ""
    sample: str = ""  # description of the specimen, whose identity is its ``id``
    notes: str = ""
    detector_settings: dict[str, dict[str, str | float]] = {}
    host: str = ""  # the machine that recorded

    def __post_init__(self) -> None:
        for name in ("operator", "project", "sample", "notes", "host"):
            length = len(getattr(self, name))
            if length > _LONGEST:
                raise InvalidInput(
                    name, f"{length} letters", f"is above {_LONGEST}", "shorten it, or keep it in a file beside"
                )
        if len(self.detector_settings) > 64 or sum(map(len, self.detector_settings.values())) > 1000:
            raise InvalidInput("detector_settings", "those given", "are above 1000 values", "leave some out")
