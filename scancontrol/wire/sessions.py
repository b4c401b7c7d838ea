"""Who is connected, who holds the one operator's lease, and who was heard last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from scancontrol.recent import Recent
from scancontrol.wire.messages import Done, Hello, Limits, Refused
from scancontrol.wire.seen import SeenNumbers

__all__ = ["Session", "Sessions"]

_KEPT_ANSWERS = 64
_OBSERVER_SILENCE_NS = 10_000_000_000


@dataclass(eq=False, slots=True)
class Session:
    """One client, for as long as it is heard."""

    token: str
    name: str
    operator: bool
    control: bytes  # routing id of its control connection
    heard_ns: int
    data: bytes | None = None  # routing id of its data connection, once attached
    attached_at: int = 0  # the data message that this connection was told it gets first
    dead: bool = False  # its dead man has tripped and it was not heard since
    answers: Recent[int, Done | Refused] = field(default_factory=lambda: Recent(_KEPT_ANSWERS))
    answered: SeenNumbers = field(default_factory=SeenNumbers)  # every request that ever was

    def remember(self, request: int, answer: Done | Refused) -> None:
        """Keep an answer, so that a request that is sent again is answered again and not done again."""
        self.answers[request] = answer
        self.answered.add(request)


class Sessions:
    """All sessions of one microscope's server. At most one is the operator's."""

    def __init__(self, limits: Limits, new_token: Callable[[], str], observers: int = 256) -> None:
        self._limits = limits
        self._new_token = new_token
        self._observers = observers
        self._by_token: dict[str, Session] = {}
        self._by_control: dict[bytes, Session] = {}
        self.operator: Session | None = None

    def greet(self, hello: Hello, control: bytes, now_ns: int) -> tuple[Session, bool] | Refused:
        """The session that this hello takes up again or opens, and whether it was there; or the refusal."""
        known = self._by_token.get(hello.session) if hello.session else None
        if known is not None and known.operator == (hello.role == "operator"):
            self._by_control.pop(known.control, None)
            known.control, known.heard_ns = control, now_ns
            self._by_control[control] = known
            return known, True
        before = self._by_control.get(control)
        if before is not None:
            self.drop(before)
        if hello.role == "operator" and self.operator is not None:
            holder = self.operator
            return Refused(
                request=None,
                code="lease_held",
                holder=holder.name,
                holder_silent_ms=max(0, (now_ns - holder.heard_ns) // 1_000_000),
                message=f"the microscope is operated by {holder.name!r}",
                remedy="connect as an observer, or wait until the operator leaves",
            )
        watching = sum(not session.operator for session in self._by_token.values())
        if hello.role == "observer" and watching >= self._observers:
            return Refused(request=None, code="not_now", message=f"{self._observers} observers look on already")
        session = Session(self._new_token(), hello.name, hello.role == "operator", control, now_ns)
        self._by_token[session.token] = session
        self._by_control[control] = session
        if session.operator:
            self.operator = session
        return session, False

    def at(self, control: bytes) -> Session | None:
        """The session of a control connection."""
        return self._by_control.get(control)

    def find(self, token: str) -> Session | None:
        """The session of a token."""
        return self._by_token.get(token)

    def drop(self, session: Session) -> None:
        """Forget a session; its lease, if it held it, is free."""
        self._by_token.pop(session.token, None)
        self._by_control.pop(session.control, None)
        if self.operator is session:
            self.operator = None

    def newly_dead(self, now_ns: int) -> Session | None:
        """The operator, once, when nothing was heard from them for longer than the dead man allows."""
        operator = self.operator
        if operator is None or operator.dead:
            return None
        if now_ns - operator.heard_ns <= self._limits.dead_man_ms * 1_000_000:
            return None
        operator.dead = True
        return operator

    def expired(self, now_ns: int) -> list[Session]:
        """Sessions to drop: an operator past the lease, observers long gone."""
        lease_ns = self._limits.lease_ms * 1_000_000
        return [
            session
            for session in self._by_token.values()
            if now_ns - session.heard_ns > (lease_ns if session.operator else _OBSERVER_SILENCE_NS)
        ]

    def hear(self, session: Session, now_ns: int) -> None:
        """Any message of a session is a sign of life."""
        session.heard_ns = max(session.heard_ns, now_ns)
        session.dead = False
