"""What every instrument owes the server, as tests: a driver's own tests inherit them and say what it is made of.

::

    class TestDuties(InstrumentDuties):
        @pytest.fixture
        def stand(self):
            card = FakeCard(...)  # real where that can be; otherwise a stand-in whose time goes on during calls
            yield Stand(Driver(config, card), is_lit=card.is_lit)
            instrument.close()

A driver needs no other tests to be safe beside a specimen, and no driver is that passes fewer.
"""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from stalls import Stopwatch

from scancontrol.microscope.instrument import LONGEST_CALL_S, Block, Instrument, Overrun
from scancontrol.paths import expand
from scancontrol.paths.path import ScanPath
from scancontrol.paths.patterns.rasters import Raster
from scancontrol.paths.recipe import PathRecipe
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["InstrumentDuties", "Stand", "Timed"]

BLANKED_WITHIN_S = 0.05
PATIENCE_S = 20.0


@dataclass
class Stand:
    """An instrument and what can be seen of it from outside."""

    instrument: Instrument
    is_lit: Callable[[], bool]  # whether the beam is on the specimen now
    hang: Callable[[], None] | None = None  # from now on the hardware answers nothing; None where that cannot be
    expected: Callable[[ScanPath], np.ndarray] | None = None  # (channels, n) of a whole path, where that is known
    dwell_us: float = 50.0  # one that suits a frame of a few milliseconds
    path: ScanPath | None = None  # the only one that it scans, if there is only one; of 0.1 s or more
    tolerance: float = 0.0  # of the samples


@dataclass
class Timed:
    """Calls an instrument, and remembers how long the longest call of each name took."""

    instrument: Instrument
    longest_s: dict[str, float] = field(default_factory=dict)

    def call(self, name: str, *arguments):
        began = time.perf_counter()
        try:
            return getattr(self.instrument, name)(*arguments)
        finally:
            self.longest_s[name] = max(self.longest_s.get(name, 0.0), time.perf_counter() - began)

    def begin_and_light(self, stand: Stand, path: ScanPath) -> None:
        """Begin, and read until the beam is on: some hardware is slow to be ready."""
        self.call("begin", path, 0, 0)
        lit, enough = threading.Event(), threading.Event()

        def watch() -> None:  # while the instrument reads: some has the beam on within a call alone
            while not enough.is_set():
                if wait_until(stand.is_lit, 0.01):
                    lit.set()
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            deadline = time.monotonic() + 5.0
            while not lit.is_set():
                assert time.monotonic() < deadline, "the beam never came on"
                self.call("read", 1000)
        finally:
            enough.set()
            thread.join()

    def blocks(self, wanted: int, most: int = 1000, into: list[Block] | None = None) -> list[Block]:
        """Read until ``wanted`` samples have come; ``into`` keeps them where an error comes first."""
        blocks: list[Block] = [] if into is None else into
        deadline = time.monotonic() + PATIENCE_S
        while sum(block.values.shape[1] for block in blocks) < wanted:
            assert time.monotonic() < deadline, f"{sum(b.values.shape[1] for b in blocks)} of {wanted} samples came"
            block = self.call("read", most)
            if block is not None:
                assert block.values.shape[1] <= most
                blocks.append(block)
        return blocks

    def rest(self) -> list[Block]:
        """After a blank: everything until None."""
        blocks: list[Block] = []
        deadline = time.monotonic() + PATIENCE_S
        while (block := self.call("read", 1000)) is not None:
            assert time.monotonic() < deadline, "a blanked instrument goes on handing over"
            blocks.append(block)
        return blocks

    def none_was_long(self) -> bool:
        return all(longest < LONGEST_CALL_S for longest in self.longest_s.values())


def count_of(blocks: list[Block]) -> int:
    return sum(block.values.shape[1] for block in blocks)


def path_of(stand: Stand, dwell_us: float | None = None, side: int = 16) -> ScanPath:
    if stand.path is not None:
        return stand.path
    capabilities = stand.instrument.capabilities
    recipe = PathRecipe(
        pattern=Raster(),
        shape=(side, side),
        fov_nm=20.0,
        dwell_us=dwell_us or max(stand.dwell_us, capabilities.shortest_dwell_us),
        dac_bits=capabilities.dac_bits,
        clock_mhz=capabilities.sample_clock_mhz,
    )
    return expand(recipe)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


class InstrumentDuties:
    """Inherit, and give a fixture ``stand``."""

    pytestmark = pytest.mark.slow

    def test_every_sample_of_a_path_comes_once_in_order_and_of_the_type_that_is_stated(self, stand: Stand):
        timed, path = Timed(stand.instrument), path_of(stand)
        for first in (0, path.count // 3):
            timed.call("begin", path, first, 0)
            blocks = timed.blocks(path.count - first)
            assert count_of(blocks) == path.count - first
            assert {block.values.dtype.str for block in blocks} == {stand.instrument.capabilities.sample_dtype}
            assert {len(block.values) for block in blocks} == {len(stand.instrument.capabilities.detectors)}
            if stand.expected is not None:
                seen = np.concatenate([block.values for block in blocks], axis=1)
                np.testing.assert_allclose(seen, stand.expected(path)[:, first:], atol=stand.tolerance)
            assert timed.call("read", 10) is None
            assert wait_until(lambda: not stand.is_lit(), 0.2), "the beam is on after the last sample"

    def test_a_block_is_never_longer_than_what_was_asked_for(self, stand: Stand):
        timed, path = Timed(stand.instrument), path_of(stand)
        timed.call("begin", path, 0, 0)
        assert count_of(timed.blocks(path.count, most=7)) == path.count

    def test_the_electrons_are_those_of_current_and_dwell_or_more(self, stand: Stand):
        timed, path = Timed(stand.instrument), path_of(stand)
        timed.call("begin", path, 0, 0)
        electrons = sum(block.electrons for block in timed.blocks(path.count))
        stated = path.electrons(stand.instrument.capabilities.beam_current_pa)
        assert 0.99 * stated <= electrons <= 1.01 * stated * stand.instrument.capabilities.overcount

    @pytest.mark.parametrize("after", [0.0, 0.3, 0.9])
    def test_a_frame_aborted_at_any_sample_tells_its_samples_and_all_its_electrons_and_goes_on(self, stand, after):
        timed, path = Timed(stand.instrument), path_of(stand)
        timed.call("begin", path, 0, 0)
        began = time.monotonic()
        time.sleep(after * path.duration_us * 1e-6)
        stand.instrument.blank()
        lit_s = time.monotonic() - began
        blocks = timed.rest()
        assert wait_until(lambda: not stand.is_lit(), BLANKED_WITHIN_S)
        done, electrons = count_of(blocks), sum(block.electrons for block in blocks)
        current_pa = stand.instrument.capabilities.beam_current_pa
        of_samples = float(path.chunk(0, done).dwell_us.sum()) * current_pa * ELECTRONS_PER_PA_US
        assert electrons >= 0.99 * of_samples
        assert electrons <= max((lit_s + 0.1) * 1e6 * current_pa * ELECTRONS_PER_PA_US, 1.01 * of_samples)
        if done == path.count:  # the machine was busy, and the frame over
            return
        timed.call("begin", path, done, 0)
        rest = timed.blocks(path.count - done)
        assert done + count_of(rest) == path.count
        if stand.expected is not None:
            seen = np.concatenate([block.values for block in [*blocks, *rest]], axis=1)
            np.testing.assert_allclose(seen, stand.expected(path), atol=stand.tolerance)

    def test_blanking_is_obeyed_at_any_time_and_any_number_of_times(self, stand: Stand):
        stand.instrument.blank()
        stand.instrument.blank()
        assert not stand.is_lit()
        assert stand.instrument.read(10) is None
        timed, path = Timed(stand.instrument), path_of(stand, side=64)
        timed.begin_and_light(stand, path)
        timed.call("blank")
        assert wait_until(lambda: not stand.is_lit(), BLANKED_WITHIN_S)
        timed.call("blank")
        timed.rest()
        assert timed.call("read", 10) is None
        assert not stand.is_lit()

    def test_a_blank_from_another_thread_needs_nobody_to_read(self, stand: Stand):
        timed, path = Timed(stand.instrument), path_of(stand, side=64)
        reading = threading.Event()

        def read_on():
            timed.call("begin", path, 0, 0)
            while not reading.is_set():
                timed.call("read", 1000)

        thread = threading.Thread(target=read_on)
        thread.start()
        try:
            assert wait_until(stand.is_lit, 5.0), "the beam never came on"
            with Stopwatch() as watch:
                stand.instrument.blank()
                asked = last_lit = time.monotonic()
                while watch.between(asked, now := time.monotonic()) < BLANKED_WITHIN_S + 0.05:
                    last_lit = now if stand.is_lit() else last_lit  # a flyback is no end of the beam
                given_s = watch.between(asked, last_lit)
            assert given_s < BLANKED_WITHIN_S, "the beam stayed on, or came on again by itself"
        finally:
            reading.set()
            thread.join()

    def test_no_call_is_long(self, stand: Stand):
        path = path_of(stand)
        for _ in range(3):  # a busy machine is nobody's fault, three times in a row it is
            timed = Timed(stand.instrument)
            timed.call("begin", path, 0, 0)
            timed.blocks(path.count)
            timed.call("begin", path, 0, 1)
            timed.call("blank")
            timed.rest()
            if timed.none_was_long():
                return
        pytest.fail(f"calls took {timed.longest_s}, the bound is {LONGEST_CALL_S} s")

    @pytest.mark.parametrize("dwell_us", [8e3, 20e3, 1e6])
    def test_a_long_dwell_begins_at_once_in_no_memory_and_is_blanked_within_it(self, stand: Stand, dwell_us: float):
        path = path_of(stand, min(dwell_us, stand.instrument.capabilities.longest_dwell_us), side=128)
        stand.instrument.begin(path_of(stand), 0, 0)  # whatever is made once is made now
        stand.instrument.blank()
        Timed(stand.instrument).rest()
        for _ in range(3):
            timed = Timed(stand.instrument)
            tracemalloc.start()
            try:
                timed.begin_and_light(stand, path)
                lit, blocks = time.monotonic(), []
                while time.monotonic() - lit < 0.06:
                    blocks.append(timed.call("read", 1000))
                timed.call("blank")
                electrons = sum(block.electrons for block in [*blocks, *timed.rest()] if block is not None)
                peak_bytes = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert wait_until(lambda: not stand.is_lit(), BLANKED_WITHIN_S)
            assert peak_bytes < 64 << 20
            current_pa = stand.instrument.capabilities.beam_current_pa
            assert electrons > 0.02 * 1e6 * current_pa * ELECTRONS_PER_PA_US, "beam time without a sample is not told"
            if timed.none_was_long():
                return
        pytest.fail(f"calls took {timed.longest_s}, the bound is {LONGEST_CALL_S} s")

    def test_the_shortest_dwell_is_scanned_or_ends_as_overrun(self, stand: Stand):
        timed, path = Timed(stand.instrument), path_of(stand, stand.instrument.capabilities.shortest_dwell_us, side=32)
        timed.call("begin", path, 0, 0)
        try:
            assert count_of(timed.blocks(path.count)) == path.count
        except Overrun:
            assert wait_until(lambda: not stand.is_lit(), BLANKED_WITHIN_S)

    def test_hardware_that_answers_nothing_holds_up_no_call_and_no_blank(self, stand: Stand):
        if stand.hang is None:
            pytest.skip("nothing of this instrument can hang")
        path = path_of(stand, side=64)
        timed = Timed(stand.instrument)
        timed.begin_and_light(stand, path)
        stand.hang()
        until = time.monotonic() + 0.1
        try:
            while time.monotonic() < until:
                timed.call("read", 1000)
        except Exception:  # noqa: S110 - it may have noticed: what counts is the beam
            pass
        deadline = time.monotonic() + 1.0
        while True:  # as the server does: until it obeys
            try:
                timed.call("blank")
                break
            except Exception:
                assert time.monotonic() < deadline, "the blanker never obeys"
        assert wait_until(lambda: not stand.is_lit(), BLANKED_WITHIN_S)
        assert max(timed.longest_s.values()) < 2 * LONGEST_CALL_S

    def test_it_can_be_closed_twice_and_is_blanked_then(self, stand: Stand):
        stand.instrument.begin(path_of(stand, side=64), 0, 0)
        stand.instrument.close()
        stand.instrument.close()
        assert not stand.is_lit()
