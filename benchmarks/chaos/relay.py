"""A TCP relay between daemon and microscope that can be cut, stalled and slowed: the network's faults, on real sockets.

It listens on 127.0.0.2 at the ports where the microscope listens on 127.0.0.1, so neither end has to be told of it:
the microscope names its data port, and the daemon looks for that port at the host that it reached. Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from pathlib import Path

__all__ = ["RELAY_HOST", "Relay", "listening_ports"]

RELAY_HOST = "127.0.0.2"
_PIECE = 1 << 16


def listening_ports(pid: int) -> set[int]:
    """The TCP ports on which a process listens, from /proc."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found = re.match(r"socket:\[(\d+)\]", str(link.readlink()))
            if found:
                inodes.add(found.group(1))
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            ports.add(int(fields[1].split(":")[1], 16))
    return ports


class Relay:
    """Forwards bytes both ways; :meth:`cut`, :meth:`stall` and :meth:`delay` act on all of it, until :meth:`mend`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: dict[int, asyncio.Server] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._delay_s = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()

    def listen(self, ports: set[int]) -> None:
        """Relay exactly these ports."""
        asyncio.run_coroutine_threadsafe(self._listen(ports), self._loop).result(10)

    def cut(self) -> None:
        """Close every connection, and take no new ones."""
        self._loop.call_soon_threadsafe(self._do_cut)

    def stall(self) -> None:
        """Carry nothing on, and say nothing about it."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def delay(self, seconds: float) -> None:
        """Every piece waits so long, each way."""
        self._delay_s = seconds

    def mend(self) -> None:
        """All is well again."""
        self._cut, self._delay_s = False, 0.0
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        """End it."""
        asyncio.run_coroutine_threadsafe(self._listen(set()), self._loop).result(10)
        self.cut()

        async def finish() -> None:
            self._flowing.set()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(finish(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _listen(self, ports: set[int]) -> None:
        for port in set(self._servers) - ports:
            self._servers.pop(port).close()
        for port in ports - set(self._servers):
            self._servers[port] = await asyncio.start_server(
                lambda reader, writer, port=port: self._relay(port, reader, writer), RELAY_HOST, port
            )

    def _do_cut(self) -> None:
        self._cut = True
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _relay(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, there_writer}
        self._writers |= pair
        ways = (self._carry(reader, there_writer), self._carry(there_reader, writer))
        tasks = {self._loop.create_task(way) for way in ways}
        self._tasks |= tasks
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._tasks -= tasks
            self._writers -= pair
            for each in pair:
                each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                await self._flowing.wait()
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                writer.write(piece)
                await writer.drain()
