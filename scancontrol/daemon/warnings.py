"""What is wrong with a running daemon now: sentences that stay on the page for as long as they are true. Pure."""

from __future__ import annotations

from scancontrol.daemon.config import UNNAMED, DaemonConfig
from scancontrol.daemon.describing import Description
from scancontrol.daemon.orders import OrdersSnapshot
from scancontrol.daemon.snapshot import BeamSnapshot
from scancontrol.dose.limits import DoseLimits

__all__ = ["standing_warnings"]


def standing_warnings(
    beam: BeamSnapshot,
    orders: OrdersSnapshot,
    restorer: str,
    ledger_trouble: str,
    described: Description,
    config: DaemonConfig,
) -> tuple[str, ...]:
    """The warnings of this moment, the gravest first.

    Args:
        beam: the microscope, and what waits for it.
        orders: what is wanted.
        restorer: its state.
        ledger_trouble: why no dose can be accounted for; empty where all is well.
        described: what the next recordings are of.
        config: as the daemon was started.
    """
    warnings = []
    if ledger_trouble:
        warnings.append(f"NOTHING CAN BE SCANNED: {ledger_trouble}")
    if orders.blank == "asked":
        warnings.append("BLANK ASKED FOR, NOT CONFIRMED: the microscope is asked until it does")
    if orders.blank == "confirmed":
        warnings.append("the beam is held blanked; Start lifts it")
    if not beam.connected:
        warnings.append(f"the microscope at {config.microscope} does not answer; trying again")
    if beam.unfinished is not None:
        if orders.aborting:
            rest = "is ended once its last samples have come; Abort again gives them up"
        else:
            rest = "waits for its disk or its microscope, and is tried again; Abort ends it"
        warnings.append(f"{beam.unfinished} {rest}")
    if described.specimen == UNNAMED and config.specimen.limits != DoseLimits():
        warnings.append("the specimen has limits and no id: give it one, or doses of different ones add up")
    if restorer in ("dead", "restarting"):
        warnings.append("no restorer: partial scans are shown alone, and recorded")
    return tuple(warnings)
