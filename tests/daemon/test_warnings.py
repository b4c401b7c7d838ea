"""What is wrong stays said for as long as it is so, the gravest first; of a daemon that is well nothing is said."""

from __future__ import annotations

import pytest

from scancontrol.daemon.config import DaemonConfig, SpecimenConfig
from scancontrol.daemon.describing import Description
from scancontrol.daemon.orders import OrdersSnapshot
from scancontrol.daemon.snapshot import BeamSnapshot
from scancontrol.daemon.warnings import standing_warnings
from scancontrol.dose.limits import DoseLimits

CONFIG = DaemonConfig(microscope="tcp://127.0.0.1:9", specimen=SpecimenConfig(limits=DoseLimits(frame_e_per_a2=10.0)))
WELL, IDLE = BeamSnapshot(connected=True), OrdersSnapshot()
GOLD = Description(specimen="gold")


def said(
    beam: BeamSnapshot = WELL,
    orders: OrdersSnapshot = IDLE,
    restorer: str = "ready",
    ledger: str = "",
    described: Description = GOLD,
) -> tuple[str, ...]:
    return standing_warnings(beam, orders, restorer, ledger, described, CONFIG)


def test_of_a_daemon_that_is_well_nothing_is_said() -> None:
    assert said() == ()


@pytest.mark.parametrize(
    ("warning", "words"),
    [
        (lambda: said(BeamSnapshot(connected=False)), ["tcp://127.0.0.1:9", "trying again"]),
        (lambda: said(orders=OrdersSnapshot(blank="asked")), ["NOT CONFIRMED"]),
        (lambda: said(orders=OrdersSnapshot(blank="confirmed")), ["Start lifts it"]),
        (lambda: said(BeamSnapshot(connected=True, unfinished="a.hspy")), ["a.hspy waits", "Abort ends it"]),
        (
            lambda: said(BeamSnapshot(connected=True, unfinished="a.hspy"), OrdersSnapshot(aborting=True)),
            ["a.hspy is ended", "Abort again gives them up"],
        ),
        (lambda: said(described=Description()), ["limits and no id"]),
        (lambda: said(restorer="dead"), ["no restorer", "recorded"]),
        (lambda: said(restorer="restarting"), ["no restorer"]),
    ],
)
def test_each_trouble_is_one_sentence_that_says_what_follows_from_it(warning, words) -> None:  # type: ignore[no-untyped-def]
    (sentence,) = warning()
    assert all(word in sentence for word in words)


def test_a_ledger_that_cannot_account_stands_above_everything_else() -> None:
    found = said(BeamSnapshot(connected=False), OrdersSnapshot(blank="asked"), "dead", "its folder is gone")
    assert found[0] == "NOTHING CAN BE SCANNED: its folder is gone"
    assert len(found) == 4
