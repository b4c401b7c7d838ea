"""A process that acquires, to be killed. Arguments: the microscope's address, the file, whether to resume."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from acquisition_tools import MICROSCOPE, plan_of, recipes_of

from scancontrol.acquisition import Acquisition
from scancontrol.link.link import MicroscopeLink
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, record_plan

address, place, frames = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
plan = plan_of(frames, dwell_us=500.0)
have = None
if place.exists():
    with Recording.open(place) as read:
        have = {(read.header.series_unique_id, frame.frame): frame.received for frame in read.frames}
    recording = Recording.resume(place)
else:
    recording = record_plan(place, PlannedScan(plan, MICROSCOPE), series_id=1, series_unique_id="victims series")
with MicroscopeLink(address, operator="victim", have=have) as link:
    link.connect(5)
    sys.stdout.write("scanning\n")
    sys.stdout.flush()
    status = Acquisition(link, recording, recipes_of(plan)).run()
if not status.resumable:
    recording.close(status.finish_reason or "")
said = {"reason": status.finish_reason, "message": status.message, "lost": status.samples_lost}
sys.stdout.write(json.dumps(said) + "\n")
