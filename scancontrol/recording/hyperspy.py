"""What HyperSpy shows beside the numbers: who made the recording, of what, with which microscope and detectors.

HyperSpy's own places and units are used where it has them: General, Sample, Acquisition_instrument; the stage in mm,
currents in nA, energies in keV, times in s.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import h5py

from scancontrol.capabilities import Capabilities
from scancontrol.recording.layout import Header

__all__ = ["describe", "metadata_of", "write_metadata"]

_NM_PER_MM = 1e6


def metadata_of(header: Header, capabilities: Capabilities, name: str, channel: str = "") -> dict[str, Any]:
    """The metadata tree of the signal ``name``; what is not known is not in it.

    ``channel`` is the detector whose pictures it holds; empty for the samples of all.
    """
    began = datetime.datetime.fromtimestamp(header.started_utc_ns // 1_000_000_000, datetime.UTC)
    about = header.about
    general = {
        "title": f"{header.name}: {name}",
        "date": began.date().isoformat(),
        "time": began.time().isoformat(),
        "time_zone": "UTC",
        "authors": about.operator,
        "project": about.project,
        "notes": about.notes,
    }
    detectors: dict[str, Any] = {"detector_type": channel or ", ".join(header.channels)}
    for detector in capabilities.detectors:
        if detector.name in ((channel,) if channel else header.channels):
            facts = {"counts_per_electron": detector.counts_per_electron, "offset_counts": detector.offset_counts}
            detectors[detector.name] = facts | about.detector_settings.get(detector.name, {})
    is_sem = capabilities.beam_energy_kev <= 40
    column = {
        "beam_energy": capabilities.beam_energy_kev,
        "beam_current": header.beam_current_pa / 1e3,
        "dwell_time": header.dwell_us / 1e6,
        "microscope": capabilities.name,
        "acquisition_mode": "" if is_sem else "STEM",
        "Stage": {},
        "Detector": detectors,
    }
    if header.stage_nm is not None:
        column["Stage"] = {"y": header.stage_nm[0] / _NM_PER_MM, "x": header.stage_nm[1] / _NM_PER_MM}
    return {
        "General": general,
        "Sample": {"name": header.specimen or "", "description": about.sample},
        "Signal": {"signal_type": "", "signal_origin": capabilities.origin},
        "Acquisition_instrument": {"SEM" if is_sem else "TEM": column},
    }


def write_metadata(group: h5py.Group, metadata: Mapping[str, Any]) -> None:
    """Write the tree as HyperSpy does: groups and attributes. Empty texts and groups are left out."""
    for name, value in metadata.items():
        if isinstance(value, Mapping):
            inside = {key: entry for key, entry in value.items() if entry not in ("", {})} or None
            if inside is not None:
                write_metadata(group.create_group(_printable(name.replace("/", "_"))), inside)
        else:
            group.attrs[_printable(name)] = _printable(value) if isinstance(value, str) else value
    if "Signal" in metadata:
        group["Signal"].attrs["signal_type"] = ""  # HyperSpy wants it, though it says nothing


def describe(header: Header, capabilities: Capabilities) -> list[tuple[str, str]]:
    """The same in words, for pictures and tables: (what, value) of everything that is known."""
    about = header.about
    stage = "" if header.stage_nm is None else f"y {header.stage_nm[0] / 1e3:g}, x {header.stage_nm[1] / 1e3:g} um"
    settings = "; ".join(
        f"{detector} " + ", ".join(f"{key} {value}" for key, value in values.items())
        for detector, values in about.detector_settings.items()
    )
    facts = (
        ("microscope", f"{capabilities.name}, {capabilities.beam_energy_kev:g} kV, {header.beam_current_pa:g} pA"),
        ("specimen", header.specimen or ""),
        ("sample", about.sample),
        ("stage", stage),
        ("operator", about.operator),
        ("project", about.project),
        ("detectors", settings),
        ("notes", about.notes),
    )
    return [(name, " ".join(_printable(value).split())) for name, value in facts if value]


def _printable(text: str) -> str:
    """HDF5's texts end at the first zero byte, and nobody can read the other ones."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
