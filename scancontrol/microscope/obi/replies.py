"""The Open Beam Interface's byte protocol upwards: sync frames and pixels. No sockets, no clocks.

Pixels come back in the order of the commands, one value each: ``adc << 2`` as an unsigned 16-bit big-endian
word, or its high byte, or nothing, as the last ``Synchronize`` chose. The answer to ``Synchronize`` itself is
``FF FF`` and the cookie, always 16-bit.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import RemoteProtocolError
from scancontrol.microscope.obi.commands import OutputMode

__all__ = ["ReplyReader", "encode_pixels", "sync_frame"]


def sync_frame(cookie: int) -> bytes:
    """The answer to :class:`Synchronize`: always 16-bit, whatever the output mode."""
    return struct.pack(">HH", 0xFFFF, cookie)


def encode_pixels(adc_codes: NDArray[np.integer[Any]], mode: OutputMode) -> bytes:
    """The reply to pixels of 14-bit ``adc_codes``: ``adc << 2`` big-endian, or its high byte, or nothing."""
    if mode == OutputMode.NONE:
        return b""
    values = np.asarray(adc_codes).astype(np.uint16) << 2
    if mode == OutputMode.EIGHT_BIT:
        return (values >> 8).astype(np.uint8).tobytes()
    return values.astype(">u2").tobytes()


class ReplyReader:
    """The client's side of the upward stream: sync frames and pixels, in whatever pieces they arrive.

    In 16-bit mode ``FF FF`` cannot be a pixel (the low two bits are zero) and a sync frame may be searched for.
    In 8-bit mode it can be two pixels, so the bytes that are still owed are counted and passed over instead.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._frame: bytes | None = None
        self._skip: int | None = None
        self._mode_after = OutputMode.SIXTEEN_BIT
        self.mode = OutputMode.SIXTEEN_BIT
        self.discarded_bytes = 0

    @property
    def synchronising(self) -> bool:
        """Whether a sync frame is still awaited."""
        return self._frame is not None

    @property
    def bytes_per_pixel(self) -> int:
        """2, 1 or 0."""
        return (2, 1, 0)[self.mode]

    def expect_sync(self, cookie: int, mode: OutputMode, owed_pixels: int | None) -> None:
        """Await the frame with ``cookie``, after which pixels come in ``mode``.

        ``owed_pixels`` answers to earlier commands come first and are dropped; None searches, for a stream whose
        past is unknown.
        """
        self._frame = sync_frame(cookie)
        self._skip = None if owed_pixels is None else owed_pixels * self.bytes_per_pixel
        self._mode_after = mode
        self._advance()

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the peer.

        Raises:
            RemoteProtocolError: a sync frame had to be and is not.
        """
        self._buffer += data
        self._advance()

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self.discarded_bytes += count

    def _advance(self) -> None:
        if self._frame is None:
            return
        if self._skip is None:
            at = self._buffer.find(self._frame)
            if at < 0:  # the last three bytes may be the beginning of the frame
                self._drop(max(0, len(self._buffer) - 3))
                return
            self._drop(at)
        else:
            passed = min(self._skip, len(self._buffer))
            self._drop(passed)
            self._skip -= passed
            head = bytes(self._buffer[:4])
            if self._skip or not head:
                return
            if not self._frame.startswith(head):
                raise RemoteProtocolError(
                    f"the OBI device sent {head.hex(' ')} where the sync frame {self._frame.hex(' ')} had to be; "
                    "reconnect, and check that nobody else drives the device"
                )
        if len(self._buffer) >= 4:
            del self._buffer[:4]
            self._frame = None
            self.mode = self._mode_after

    def available(self) -> int:
        """Whole pixels that can be taken now."""
        if self._frame is not None or self.mode == OutputMode.NONE:
            return 0
        return len(self._buffer) // self.bytes_per_pixel

    def take(self, count: int) -> NDArray[np.uint16]:
        """The next ``count`` pixels (at most :meth:`available`) as 16-bit counts: ``adc << 2``, or ``byte << 8``.

        Raises:
            RemoteProtocolError: a 16-bit value has its low bits set, which no pixel has.
        """
        count = min(count, self.available())
        size = count * self.bytes_per_pixel
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        if self.mode == OutputMode.EIGHT_BIT:
            return np.frombuffer(raw, np.uint8).astype(np.uint16) * np.uint16(256)
        values = np.frombuffer(raw, ">u2").astype(np.uint16)
        if count and bool(np.any(values & 3)):
            bad = int(values[np.argmax(values & 3 != 0)])
            raise RemoteProtocolError(
                f"the OBI device sent a pixel 0x{bad:04x}, which no 14-bit ADC gives; the stream is out of step"
            )
        return values
