"""``scancontrol calibrate``: measure coils and detector of a running microscope.

The coils' time constant, the signal's delay, and the detector's afterglow, gain and dark level. Takes ordinary scans of
one place, forwards, backwards, back and forth and along a spiral both ways, so choose a place with contrast that stands
the dose. The result is printed, and with ``--write`` put into the microscope's YAML.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scancontrol.calibration.counting import Counting
from scancontrol.calibration.estimate import CoilEstimate
from scancontrol.calibration.file import write_calibration
from scancontrol.calibration.scans import Calibration, calibrate
from scancontrol.calibration.stating import calibrated_coil, calibrated_detector
from scancontrol.capabilities import DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.link.link import MicroscopeLink
from scancontrol.transport.keys import ClientSecurity

__all__ = ["add_parser", "run"]

_THINKING_S = 300.0  # between two sets of scans the link is left alone, without beam


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("calibrate", help="measure the scan coils and a detector", description=__doc__)
    parser.add_argument("--microscope", required=True, metavar="ADDRESS", help="the microscope's control address")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the microscope's YAML, to put the result into")
    parser.add_argument("--fov-nm", type=float, default=20.0, help="width of the scanned field (%(default)s)")
    parser.add_argument("--pixels", type=int, default=128, help="lines, and samples in a line (%(default)s)")
    parser.add_argument("--dwell-us", type=float, default=1.0, help="dwell of the first set of scans (%(default)s)")
    parser.add_argument("--order", type=int, choices=(1, 2), default=1, help="of the coils' response (%(default)s)")
    parser.add_argument("--channel", type=int, default=0, help="which detector to use (%(default)s)")
    parser.add_argument("--operator", default="calibration", help="whose lease it is (%(default)s)")
    parser.add_argument("--secret-key", type=Path, metavar="FILE", help="this client's CURVE secret key")
    parser.add_argument("--microscope-key", type=Path, metavar="FILE", help="the microscope's CURVE public key")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write."""
    if (args.secret_key is None) != (args.microscope_key is None):
        raise InvalidInput("--secret-key and --microscope-key", "only one of them", "is not enough", "give both")
    keys = ClientSecurity(args.secret_key, args.microscope_key) if args.secret_key is not None else None
    with MicroscopeLink(args.microscope, security=keys, operator=args.operator, patience_s=_THINKING_S) as link:
        link.connect()
        found = calibrate(
            link, args.fov_nm, args.pixels, args.dwell_us, order=args.order, channel=args.channel, tell=print
        )
    if found.coils is not None:
        _tell_coils(found.coils)
    if found.counting is not None:
        _tell_counting(found.counting)
    for sentence in found.untold:
        print(f"not told       {sentence}")
    if found.coils is None and found.counting is None:
        return 1
    if args.write is not None:
        _write(args.write, found, link.capabilities.detectors, args.channel)
    return 0


def _tell_coils(found: CoilEstimate) -> None:
    coil = found.coil
    print(f"time constant  {coil.time_constant_us:.4g} ± {coil.time_constant_sd_us:.2g} us, order {coil.order}")
    if found.damping_sd is not None:
        print(f"damping        {coil.damping:.3g} ± {found.damping_sd:.2g}")
    if found.parted:
        print(f"delay          {coil.delay_us:.3g} ± {coil.delay_sd_us:.2g} us")
        print(f"afterglow      {found.decay_us:.3g} ± {found.decay_sd_us:.2g} us")
    else:
        print("delay          0 us, taken; lag, delay and afterglow show only as their sum, given above as the lag")
    print(f"late in all    {found.late_us:.4g} ± {found.late_sd_us:.2g} us")
    print(f"agreement      {found.calibrated_rms:.4g} counts rms between scans, {found.nominal_rms:.4g} uncalibrated")


def _tell_counting(found: Counting) -> None:
    print(f"gain           {found.counts_per_electron:.4g} ± {found.counts_per_electron_sd:.2g} counts per electron")
    print(f"dark level     {found.offset_counts:.4g} ± {found.offset_sd_counts:.2g} counts, with the read noise stated")


def _write(file: Path, found: Calibration, detectors: tuple[DetectorChannel, ...], channel: int) -> None:
    detector = calibrated_detector(detectors[channel], found.coils, found.counting)
    coil, note = None, ""
    if found.coils is not None:
        coil = calibrated_coil(found.coils, detector)
        note = f"measured {datetime.now(UTC).date().isoformat()} from {found.coils.samples} samples"
        if not found.coils.parted:
            note += "; any part of the lag may be delay or afterglow"
    changed = detector if detector != detectors[channel] else None
    for key in write_calibration(file, coil, note, detectors, changed):
        print(f"written to {key} in {file}; start the microscope again to use it")
