"""An operator that scans without end: what is killed in ``benchmarks/dead_man_drivers.py``."""

from __future__ import annotations

import argparse
import itertools

from scancontrol.link.link import Chunk, End, MicroscopeLink
from scancontrol.paths import PathRecipe, Serpentine
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce

DWELL_US = 2000.0
"""One that every driver has, and so long that credit lasts for longer than the dead man waits."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    add_follow_stdin(parser)
    arguments = parser.parse_args()
    shutdown = Shutdown(follow_stdin=arguments.follow_stdin)
    with MicroscopeLink(arguments.address, operator="endless") as link:
        known = link.connect(20.0)
        while (status := link.status) is None:
            link.receive(0.01)
        if status.blanker == "blank":
            link.set_blanker("auto", hold=status.blanks)
        recipe = PathRecipe(
            pattern=Serpentine(),
            shape=(64, 64),
            fov_nm=20.0,
            dwell_us=DWELL_US,
            dac_bits=known.dac_bits,
            clock_mhz=known.sample_clock_mhz,
        )
        path_id = link.register(recipe)
        announce("scan")
        for frame in itertools.count():
            link.start(path_id, 1, frame)
            while not isinstance(event := link.receive(0.2), End):
                if isinstance(event, Chunk):
                    link.acknowledge(event.series_id, event.frame, event.next_index)
                if shutdown.requested():
                    return
            link.acknowledge(event.series_id, event.frame, event.next_index)
            if event.reason != "completed":
                return


if __name__ == "__main__":
    main()
