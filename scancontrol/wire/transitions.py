"""The two transition tables: what each end of the wire may do next. Nothing about states lives elsewhere.

Rule 1: a step that is not in its table does not exist; asking for it is refused and changes nothing.
Rule 2: the beam is on in one state of the microscope's table, ``SCANNING``. Every step out of it blanks, except
``NEXT``, which goes straight on with the next frame of the queue (the instrument blanks itself after the last
sample of a path). Tests read both rules off the table; ``docs/generate_state_diagrams.py`` draws it.
"""

from __future__ import annotations

import enum
from typing import Literal, NamedTuple

from scancontrol.wire.messages import EndReason

__all__ = ["CLIENT", "MICROSCOPE", "Beam", "ClientEvent", "ClientState", "Event", "State", "Step"]


class State(enum.Enum):
    """The microscope's side."""

    IDLE = "idle"  # blanked, nothing to do
    WAITING = "waiting"  # blanked; a frame waits for credit, or for room among what is unacknowledged
    SCANNING = "scanning"  # the beam is on and every sample of it is collected
    PAUSED = "paused"  # blanked by the operator, who may go on
    HELD = "held"  # blanked until an operator lets go of it
    CLOSED = "closed"  # blanked for good


class Event(enum.Enum):
    """What can happen at the microscope's side."""

    SCAN = "scan asked for"
    GO = "credit and room"
    EMPTY = "nothing left"
    NO_CREDIT = "no credit or room"
    COMPLETED = "last sample"
    NEXT = "last sample, next frame queued"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    HOLD = "blank"
    RELEASE = "blanker auto"
    DOSE_LIMIT = "dose limit"
    OVERRUN = "overrun"
    FAULT = "fault"
    COLUMN_BLANK = "blanked at the column"
    HEARTBEAT_LOST = "heartbeat lost"
    SHUTDOWN = "shutdown"


Beam = Literal["begin", "blank", ""]


class Step(NamedTuple):
    """Where an event leads, what the beam does on the way, and with which reason it ends frames."""

    to: State
    beam: Beam = ""
    ends: EndReason | None = None  # "completed" ends the running frame, any other reason the queue as well


_WHATEVER_HAPPENS: dict[Event, Step] = {
    Event.ABORT: Step(State.IDLE, "blank", "aborted"),
    Event.HOLD: Step(State.HELD, "blank", "operator_blank"),
    Event.DOSE_LIMIT: Step(State.IDLE, "blank", "dose_limit"),
    Event.OVERRUN: Step(State.IDLE, "blank", "overrun"),
    Event.FAULT: Step(State.IDLE, "blank", "fault"),
    Event.COLUMN_BLANK: Step(State.HELD, "blank", "operator_blank"),
    Event.HEARTBEAT_LOST: Step(State.IDLE, "blank", "heartbeat_lost"),
    Event.SHUTDOWN: Step(State.CLOSED, "blank", "shutdown"),
}

MICROSCOPE: dict[State, dict[Event, Step]] = {
    State.IDLE: {Event.SCAN: Step(State.WAITING), Event.PAUSE: Step(State.PAUSED), **_WHATEVER_HAPPENS},
    State.WAITING: {
        Event.SCAN: Step(State.WAITING),
        Event.GO: Step(State.SCANNING, "begin"),
        Event.EMPTY: Step(State.IDLE),
        Event.COMPLETED: Step(State.WAITING, "", "completed"),
        Event.PAUSE: Step(State.PAUSED),
        **_WHATEVER_HAPPENS,
    },
    State.SCANNING: {
        Event.SCAN: Step(State.SCANNING),
        Event.NEXT: Step(State.SCANNING, "begin", "completed"),
        Event.COMPLETED: Step(State.WAITING, "blank", "completed"),
        Event.NO_CREDIT: Step(State.WAITING, "blank"),
        Event.PAUSE: Step(State.PAUSED, "blank"),
        **_WHATEVER_HAPPENS,
    },
    State.PAUSED: {
        Event.SCAN: Step(State.PAUSED),
        Event.COMPLETED: Step(State.PAUSED, "", "completed"),
        Event.PAUSE: Step(State.PAUSED),
        Event.RESUME: Step(State.WAITING),
        **_WHATEVER_HAPPENS,
    },
    State.HELD: {
        Event.RELEASE: Step(State.IDLE),
        **{event: step._replace(to=State.HELD) for event, step in _WHATEVER_HAPPENS.items()},
        Event.SHUTDOWN: _WHATEVER_HAPPENS[Event.SHUTDOWN],
    },
    State.CLOSED: {},
}


class ClientState(enum.Enum):
    """The client's side."""

    OFFLINE = "offline"  # nothing asked for yet, or the connection was given up
    GREETING = "greeting"  # hello sent
    ATTACHING = "attaching"  # welcomed; the data connection is being joined to the session
    READY = "ready"  # requests are answered and samples come
    REFUSED = "refused"  # the microscope will not have us as we are
    CLOSED = "closed"


class ClientEvent(enum.Enum):
    """What can happen at the client's side."""

    CONNECT = "connect"
    WELCOME = "welcome (operator)"
    WELCOME_OBSERVER = "welcome (observer)"
    ATTACHED = "attached"
    NO_SESSION = "session unknown"
    DETACHED = "data connection replaced"
    SILENCE = "silence"
    REFUSAL = "hello refused"
    CLOSE = "close"


_C, _E = ClientState, ClientEvent

CLIENT: dict[ClientState, dict[ClientEvent, ClientState]] = {
    _C.OFFLINE: {_E.CONNECT: _C.GREETING, _E.CLOSE: _C.CLOSED},
    _C.GREETING: {
        _E.WELCOME: _C.ATTACHING,
        _E.WELCOME_OBSERVER: _C.READY,
        _E.REFUSAL: _C.REFUSED,
        _E.SILENCE: _C.OFFLINE,
        _E.CLOSE: _C.CLOSED,
    },
    _C.ATTACHING: {_E.ATTACHED: _C.READY, _E.NO_SESSION: _C.GREETING, _E.SILENCE: _C.OFFLINE, _E.CLOSE: _C.CLOSED},
    _C.READY: {_E.NO_SESSION: _C.GREETING, _E.DETACHED: _C.ATTACHING, _E.SILENCE: _C.OFFLINE, _E.CLOSE: _C.CLOSED},
    _C.REFUSED: {_E.CONNECT: _C.GREETING, _E.CLOSE: _C.CLOSED},
    _C.CLOSED: {},
}
