"""The messages between page or script and the daemon: JSON text both ways; images travel as in :mod:`.frames`.

Every message is a frozen value with a ``type`` tag. What a browser sends is bounded before it is parsed and
typed before it is used; anything else raises :class:`~scancontrol.errors.RemoteProtocolError` and changes nothing.

A :data:`Command` changes what the beam does and waits for its turn; an :data:`Inquiry` is answered at once, beside
it. Whatever carries a ``request`` number is answered exactly once, with that number: by :class:`Done` or the
inquiry's own answer, or by a :class:`Refusal`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from scancontrol.daemon.describing import DescriptionChange
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, RemoteProtocolError, ScanControlError, StorageError
from scancontrol.restoration import Look

__all__ = [
    "MAX_COMMAND_BYTES",
    "MAX_PLAN_BYTES",
    "PAGE_PROTOCOL",
    "Abort",
    "Acknowledge",
    "Alive",
    "Answer",
    "CheckPlan",
    "Claim",
    "Command",
    "CorrectDelay",
    "DeletePreset",
    "Describe",
    "Done",
    "EmergencyBlank",
    "GetFrame",
    "GetMicroscope",
    "Hello",
    "Inquiry",
    "ListPlans",
    "LookAt",
    "MicroscopeTold",
    "Notice",
    "OfferedPlan",
    "PatternCost",
    "Pause",
    "PlanChecked",
    "Plans",
    "Record",
    "Refusal",
    "Resume",
    "SavePreset",
    "ShowChannel",
    "Start",
    "decode_from_page",
    "encode_text",
    "refusal_of",
]

PAGE_PROTOCOL = "scancontrol.daemon.page.1"  # WebSocket subprotocol; its last figure is the version
MAX_COMMAND_BYTES = 1 << 15  # the longest honest message without a plan in it, Describe, has 4,700 letters
MAX_PLAN_BYTES = 4 << 20  # with one: positions given one by one are most of it, 22 bytes each

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Reason = Annotated[str, msgspec.Meta(max_length=200)]  # said afterwards of what it ended
PlanData = dict[str, Any]  # a plan's keys and values, as in its YAML; bytes as base64


class _FromPage(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"
):
    """Base of everything a browser may say. ``request`` is whatever number it likes to have the answer by."""

    request: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] | None = None


Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]  # ``orders.number`` of the status that the browser had seen


class Start(_FromPage, frozen=True, tag="start"):
    """Begin the acquisition of a plan that the status offers, or of one given here. Taken once for each ``number``."""

    plan: Name | PlanData
    number: Number


class Pause(_FromPage, frozen=True, tag="pause"):
    """Blank and hold at the next chunk; the frame can go on."""


class Resume(_FromPage, frozen=True, tag="resume"):
    """Go on from the next unexposed sample. Refused if anything was ordered since the browser saw ``number``."""

    number: Number


class Abort(_FromPage, frozen=True, tag="abort"):
    """End the acquisition; what was recorded is kept. ``reason`` is said of it afterwards."""

    reason: Reason = ""


class EmergencyBlank(_FromPage, frozen=True, tag="emergency_blank"):
    """Blank the beam now. Accepted from observers too: it can only make the specimen safer."""

    reason: Reason = ""


class Record(_FromPage, frozen=True, tag="record"):
    """Ask that what follows be kept in a recording (``on``), or that recording end."""

    on: bool


class ShowChannel(_FromPage, frozen=True, tag="show_channel"):
    """Show and restore another detector of those that are recorded, and one ``beside`` it, from the next samples on."""

    channel: Name
    beside: Name | None = None


class LookAt(_FromPage, frozen=True, tag="look_at"):
    """Show the newest frame, and those after it, restored another way; what is stored stays as it is configured."""

    look: Look


class CorrectDelay(_FromPage, frozen=True, tag="correct_delay"):
    """Place samples as late as the last restoration found readings to come, from the next frame on."""


class Describe(_FromPage, frozen=True, tag="describe"):
    """Say of the next recordings what they are of. What ``about`` leaves out stays as it is."""

    about: DescriptionChange


class Acknowledge(_FromPage, frozen=True, tag="ack"):
    """The browser has drawn the image with this sequence number and can take another."""

    seq: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Claim(_FromPage, frozen=True, tag="claim"):
    """Let only this connection start, for as long as it stands and :class:`Alive` comes every ``within_s`` at least.

    What it starts is aborted when it ends, in whatever way. ``operator`` is noted in the recordings.
    """

    operator: Name
    within_s: float


class Alive(_FromPage, frozen=True, tag="alive"):
    """Whoever holds the claim is still there."""


class GetFrame(_FromPage, frozen=True, tag="get_frame"):
    """Samples, positions and pictures of a recorded frame: a binary message, see :mod:`.arrays`.

    Of a frame that is being scanned or restored it is answered once it is restored, or cannot be, or after ``wait_s``.
    """

    recording: Name  # file name, as in the status
    frame: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0


class CheckPlan(_FromPage, frozen=True, tag="check_plan"):
    """What a plan that is offered, or given here, comes to on this microscope: :class:`PlanChecked`, or why not."""

    plan: Name | PlanData


class GetMicroscope(_FromPage, frozen=True, tag="get_microscope"):
    """What the microscope states about itself: :class:`MicroscopeTold`."""


class ListPlans(_FromPage, frozen=True, tag="list_plans"):
    """All plans that are offered, with all that they say: :class:`Plans`."""


class SavePreset(_FromPage, frozen=True, tag="save_preset"):
    """Offer this plan from now on, under its name; ``replace`` says that it may take the place of one of that name."""

    plan: PlanData
    replace: bool = False


class DeletePreset(_FromPage, frozen=True, tag="delete_preset"):
    """Offer this plan no more. Those of the configuration stay."""

    name: Name


Command = (
    Start | Pause | Resume | Abort | EmergencyBlank | Record | ShowChannel | CorrectDelay | LookAt | Describe | Claim
)
Inquiry = CheckPlan | ListPlans | SavePreset | DeletePreset | GetFrame | GetMicroscope
FromPage = Command | Inquiry | Acknowledge | Alive
_WITH_PLAN = (Start, CheckPlan, SavePreset)
_decoder: msgspec.json.Decoder[FromPage] = msgspec.json.Decoder(FromPage)


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """The first message to a browser: who it is talking to, and what it may do."""

    protocol: str
    server: str
    role: Literal["operator", "observer"]


class Notice(msgspec.Struct, frozen=True, tag_field="type", tag="notice"):
    """One line for the operator, most often the answer to a command."""

    text: str
    level: Literal["info", "warning", "error"] = "info"
    utc_ms: int | None = None  # the hub fills it in


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="refusal", omit_defaults=True):
    """A browser's message that was not taken, and why. Nothing else happened.

    Where one quantity is to blame, it is named with its value, the limit that it passed, and the remedy.
    """

    code: Literal["malformed", "read_only", "busy", "refused"]
    text: str
    request: int | None = None
    quantity: str = ""
    value: str = ""
    limit: str = ""
    remedy: str = ""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="done", omit_defaults=True):
    """What was asked for is taken; of a Start also the order's number, as in ``orders.number`` of the status."""

    request: int
    number: int | None = None


class PatternCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one frame along one of a plan's patterns comes to. Fractions are 0 to 1."""

    title: str
    samples: int
    coverage_nominal: float
    coverage_touched: float
    coverage_dose: float  # relative to a full raster at the same dwell
    dwell_us: float  # as the sample clock allows it
    frame_time_ms: float
    blanked_share: float  # of the frame's time
    worst_area_e_per_a2: float


class PlanChecked(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="plan_checked"):
    """A plan that may be started as things are, and what it comes to."""

    request: int
    name: str
    patterns: tuple[PatternCost, ...]  # one for each, of the frame in which it is first taken
    frames: int
    total_time_s: float  # of the beam, blanked moves counted
    duration_s: float  # with the waiting between frames
    worst_area_e_per_a2: float  # of all frames
    electrons: float  # of all frames
    area_e_per_a2: float  # what that area has had before
    area_limit_e_per_a2: float | None  # the specimen's
    arming_s: float  # how long it takes from Start to beam, as far as this machine is to blame
    recording_bytes: int  # set aside for the samples before the first electron
    pictures_bytes: int  # taken beyond that, if every picture is stored: these, and every path's positions
    disk_free_bytes: int | None  # where recordings go
    notes: tuple[str, ...]  # what its author should know, a sentence each


class OfferedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that a Start may name."""

    preset: bool  # saved from here, and so deletable; else of the configuration
    plan: PlanData


class Plans(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="plans"):
    """Every plan that is offered, in the order of the status."""

    request: int
    plans: tuple[OfferedPlan, ...]


class MicroscopeTold(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="microscope"):
    """The microscope that answers now, or did last: its :class:`~scancontrol.capabilities.Capabilities`.

    JSON has no infinity: what is without limit is left out, as its default says.
    """

    request: int
    capabilities: dict[str, Any]


Answer = Done | Refusal | PlanChecked | Plans | MicroscopeTold


def refusal_of(error: ScanControlError, request: int | None) -> Refusal:
    """What to answer where ``error`` is why something is not done."""
    if isinstance(error, InvalidInput | StorageError):
        value = str(error.value)
        return Refusal(
            code="refused",
            text=str(error),
            request=request,
            quantity=error.quantity,
            value=value if len(value) <= 200 else value[:197] + "...",
            limit=error.limit,
            remedy=error.remedy,
        )
    return Refusal(code="refused", text=str(error), request=request)


def decode_from_page(text: str | bytes) -> FromPage:
    """Return the message in ``text``.

    Raises:
        RemoteProtocolError: it is binary, longer than :data:`MAX_COMMAND_BYTES` characters (with a plan in it
            :data:`MAX_PLAN_BYTES`), malformed, of an unknown type, or has unknown or ill-typed fields.
    """
    if not isinstance(text, str):
        raise RemoteProtocolError("the page sent a binary message; commands are JSON text")
    if len(text) > MAX_PLAN_BYTES:
        raise RemoteProtocolError(f"the page's message has {len(text)} characters, above {MAX_PLAN_BYTES}")
    try:
        message = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:  # lone surrogates are not JSON
        raise RemoteProtocolError(f"the page's message is not understood: {error}") from error
    if len(text) > MAX_COMMAND_BYTES and not isinstance(message, _WITH_PLAN):
        raise RemoteProtocolError(f"the page's message has {len(text)} characters, above {MAX_COMMAND_BYTES}")
    return message


def encode_text(message: Hello | Notice | Answer | Snapshot) -> str:
    """Return ``message`` as JSON text; infinities and NaN become null."""
    return msgspec.json.encode(message).decode()
