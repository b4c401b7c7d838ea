"""A process that records and says what it may acknowledge, until it is killed.

Prints ``FRAME NEXT_INDEX`` after each chunk that is safe. Argument: the file; optionally a limit on its size.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from recording_tools import new_recording, samples_of, serpentine

if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
path = serpentine()
recording = new_recording(Path(sys.argv[1]), [path] * 500)
for frame in range(500):
    recording.begin_frame(frame, path)
    for first in range(0, path.count, 16):
        following = recording.write_chunk(frame, first, samples_of(frame, first, 16), first, first, 1.0)
        sys.stdout.write(f"{frame} {following}\n")
        sys.stdout.flush()
    recording.end_frame(frame, "completed", exposed=path.count)
    if frame % 2:
        recording.write_partial(frame, samples_of(frame, 0, path.count)[0].reshape(path.shape))
