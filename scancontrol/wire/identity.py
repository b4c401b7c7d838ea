"""Who the microscope's end is: what its welcome tells a client, and which clients it can talk to."""

from __future__ import annotations

from dataclasses import dataclass

from scancontrol.capabilities import Capabilities
from scancontrol.wire import messages as m
from scancontrol.wire.sessions import Session

__all__ = ["Identity"]


@dataclass(frozen=True)
class Identity:
    """One run of a microscope's server, as it presents itself."""

    server_id: str  # differs after every restart
    software: str
    data_address: str
    capabilities: Capabilities
    limits: m.Limits

    def misunderstands(self, hello: m.Hello) -> str:
        """Why this client would be misunderstood: it speaks another version of the protocol. Empty if it does not."""
        if hello.protocol_version == m.PROTOCOL_VERSION:
            return ""
        return (
            f"the client speaks version {hello.protocol_version} of the protocol, the microscope version"
            f" {m.PROTOCOL_VERSION}; install the same release of scancontrol on both"
        )

    def welcome(self, session: Session, *, resumed: bool) -> m.Welcome:
        """The answer to a hello that opened ``session``, or took it up again (``resumed``)."""
        return m.Welcome(
            protocol_version=m.PROTOCOL_VERSION,
            software=self.software,
            server_id=self.server_id,
            session=session.token,
            resumed=resumed,
            data_address=self.data_address,
            capabilities=self.capabilities,
            limits=self.limits,
        )
