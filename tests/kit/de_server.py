"""``deapi``'s own simulated server, with the two things that it lacks: scan positions, and the stop by datagram.

What 5.3.1 of the wheel does not know is command 1732 (``SET_SCAN_XY_ARRAY``: two acknowledgements, and after the first
the x and then the y of all positions as int32) and the datagram ``PyClientStopAcq``. Both are added as the client in
the same wheel speaks them. Everything else is the wheel's: properties, acquisition by the clock, results.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import numpy as np

SET_SCAN_XY_ARRAY = 32


class SimulatedDirectElectron:
    """A server on a free port, on threads of its own; ``visited`` is when acquisitions began and ended."""

    def __init__(self) -> None:
        from deapi.buffer_protocols import pb
        from deapi.simulated_server.fake_server import FakeServer
        from deapi.version import commandVersion

        self._pb, self._make = pb, FakeServer
        self._xy_command = SET_SCAN_XY_ARRAY + commandVersion * 100
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind(("127.0.0.1", self.port))
        self._ending = threading.Event()
        self.server = None
        self.positions = np.zeros((0, 2), np.int32)
        self.stops = 0
        self._threads = [threading.Thread(target=call) for call in (self._serve, self._stop_when_told)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._datagrams.sendto(b"", ("127.0.0.1", self.port))
        for thread in self._threads:
            thread.join(5)
        self._listener.close()
        self._datagrams.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError, ConnectionError):
                self.server = self._make(socket=connection)
                while not self._ending.is_set():
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        (length,) = struct.unpack("I", _exactly(connection, 4))
        packet = self._pb.DEPacket()
        packet.ParseFromString(_exactly(connection, length))
        if packet.command[0].command_id == self._xy_command:
            self._take_positions(connection, packet)
            return
        answers = self.server._respond_to_command(packet)
        if packet.command[0].command_id == self.server.START_ACQUISITION + (self._xy_command - SET_SCAN_XY_ARRAY):
            fps = float(self.server["Frames Per Second"])
            self.server.end_time = self.server.start_time + len(self.positions) / fps  # each position once
        for answer in answers:
            self._send(connection, answer)

    def _take_positions(self, connection: socket.socket, packet) -> None:
        width, height, count = (parameter.p_int for parameter in packet.command[0].parameter)
        self._send(connection, self._acknowledgement(packet))
        x = np.frombuffer(_exactly(connection, 4 * count), np.int32)
        y = np.frombuffer(_exactly(connection, 4 * count), np.int32)
        self.positions = np.stack([x, y], axis=1)
        self.server["Scan - Size X"], self.server["Scan - Size Y"] = width, height
        self._send(connection, self._acknowledgement(packet))

    def _acknowledgement(self, packet):
        answer = self._pb.DEPacket()
        answer.type = self._pb.DEPacket.P_ACKNOWLEDGE
        answer.acknowledge.add().command_id = packet.command[0].command_id
        return answer

    def _send(self, connection: socket.socket, answer) -> None:
        if isinstance(answer, bytes):
            connection.sendall(answer)
        else:
            connection.sendall(struct.pack("I", answer.ByteSize()) + answer.SerializeToString())

    def _stop_when_told(self) -> None:
        while not self._ending.is_set():
            text, sender = self._datagrams.recvfrom(64)
            if text == b"PyClientStopAcq":
                self.stops += 1
                if self.server is not None:
                    self.server.end_time = min(self.server.end_time, time.time())
                self._datagrams.sendto(b"Stopped", sender)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionResetError
        data += part
    return data
