"""What the microscope's end has to say and has not sent yet: answers on the control and on the data connection."""

from __future__ import annotations

from typing import Any

from scancontrol.wire import messages as m
from scancontrol.wire.framing import Part, encode
from scancontrol.wire.sessions import Session

__all__ = ["Outgoing", "Replies"]

Outgoing = tuple[bytes, list[Part]]  # routing id of the connection, and the parts


class Replies:
    """Encodes messages and keeps them, in order, until the shell takes them."""

    def __init__(self) -> None:
        self._control: list[Outgoing] = []
        self._data: list[Outgoing] = []

    def take_control(self) -> list[Outgoing]:
        """What is to be sent on the control socket; each message is told once."""
        out, self._control = self._control, []
        return out

    def take_data(self) -> list[Outgoing]:
        """What is to be sent on the data socket before any samples; each message is told once."""
        out, self._data = self._data, []
        return out

    def send(self, connection: bytes, message: m.Message) -> None:
        """Say something on a control connection."""
        self._control.append((connection, encode(message)))

    def send_data(self, connection: bytes, message: m.Attached | m.Refused) -> None:
        """Say something on a data connection."""
        self._data.append((connection, encode(message)))

    def answer(self, session: Session, answer: m.Done | m.Refused | m.Wanted) -> None:
        """Answer a request and remember the answer. ``Wanted`` asks for more of what was announced and ends nothing."""
        if not isinstance(answer, m.Wanted) and answer.request is not None:
            session.remember(answer.request, answer)
        self.send(session.control, answer)

    def refuse(self, connection: bytes, request: int | None, code: Any, message: str) -> None:
        """Refuse, on a control connection, what changed nothing."""
        self.send(connection, m.Refused(request=request, code=code, message=message[:4000]))

    def turn_away(self, connection: bytes, code: Any, message: str) -> None:
        """Refuse, on a data connection, somebody whom the samples are not for."""
        self.send_data(connection, m.Refused(request=None, code=code, message=message))
