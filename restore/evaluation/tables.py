"""The rows of an evaluation as Markdown: errors against the truth lead, what a microscopist measures follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["format_table"]

Row = dict[str, Any]

_ERRORS = (
    ("rmse_pct", "rmse %", "{:.2f}"),
    ("rmse_lowpass_pct", "of low-passed truth %", "{:.2f}"),
    ("rmse_both_lowpass_pct", "both low-passed %", "{:.2f}"),
    ("psnr_db", "psnr dB", "{:.2f}"),
    ("ssim", "ssim", "{:.3f}"),
    ("interval_coverage_pct", "interval %", "{:.1f}"),
    ("withheld_correlation", "withheld r", "{:.2f}"),
    ("expected_correlation", "expected r", "{:.2f}"),
    ("seconds_per_frame", "s/frame", "{:.3f}"),
)
_SPECIMEN = (
    ("rmse_pct", "rmse %", "{:.2f}"),
    ("height", "height", "{:.2f}"),
    ("peak", "peak", "{:.2f}"),
    ("position_px", "position px", "{:.2f}"),
    ("defect_contrast", "contrast of defects", "{:.2f}"),
    ("defect_contrast_hit", "of those hit", "{:.2f}"),
    ("false_defects", "false defects", "{:.2%}"),
    ("edge_width_px", "edge px", "{:.1f}"),
    ("interval_coverage_pct", "interval %", "{:.1f}"),
    ("defects_held", "defects held", "{:.0%}"),
    ("seconds_per_frame", "s/frame", "{:.3f}"),
)


def format_table(rows: Sequence[Row]) -> str:
    """One table for each pattern, coverage and set of micrographs or specimen, lowest error first.

    Before the specimens' own tables stands one of their errors alone, a row for each specimen and a column for each
    method.
    """
    out: list[str] = []
    for pattern, coverage in dict.fromkeys((row["pattern"], row["coverage"]) for row in rows):
        here = [row for row in rows if (row["pattern"], row["coverage"]) == (pattern, coverage)]
        head = here[0]
        scan = f"{pattern}, nominal 1/{1 / coverage:.4g}, "
        scan += f"touched 1/{1 / head['touched']:.2f}, dose 1/{1 / head['dose']:.2f}"
        specimens = [row for row in here if row["of_specimens"]]
        if specimens:
            out += _overview(f"{scan}: specimens, rmse %", specimens)
        for group in dict.fromkeys(row["set"] for row in here):
            out += _group(scan, group, [row for row in here if row["set"] == group])
    return "\n".join(out) + "\n"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)]


def _overview(title: str, rows: Sequence[Row]) -> list[str]:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = []
    for specimen in dict.fromkeys(row["set"] for row in rows):
        found = {row["method"]: row["rmse_pct"] for row in rows if row["set"] == specimen}
        best = min(found.values())
        cells = [f"{found[m]:.2f}" if m in found else "" for m in methods]
        lines.append([specimen, *(f"**{cell}**" if cell == f"{best:.2f}" else cell for cell in cells)])
    return [f"\n### {title}\n", *_markdown(["specimen", *methods], lines)]


def _group(scan: str, name: str, rows: Sequence[Row]) -> list[str]:
    rows = sorted(rows, key=lambda row: row["rmse_pct"])
    title, columns = _of_specimen(scan, name, rows) if rows[0]["of_specimens"] else _of_micrographs(scan, name, rows)
    lines = [
        [row["method"], *("–" if row[key] is None else form.format(row[key]) for key, _, form in columns)]
        for row in rows
    ]
    out = [f"\n### {title}\n", *_markdown(["method", *(text for _, text, _ in columns)], lines)]
    head = rows[0]
    modalities = sorted(head["by_modality"])
    if len(modalities) > 1:
        lines = [[row["method"], *(f"{row['by_modality'][m]['rmse_pct']:.2f}" for m in modalities)] for row in rows]
        counted = [f"{m} ({head['by_modality'][m]['images']})" for m in modalities]
        out += ["\nrmse %, by modality:\n", *_markdown(["method", *counted], lines)]
    return out


def _of_micrographs(scan: str, name: str, rows: Sequence[Row]) -> tuple[str, Sequence[tuple[str, str, str]]]:
    """Title and columns of a set of micrographs."""
    return f"{scan}: {name}, {rows[0]['images']} images", _ERRORS


def _of_specimen(scan: str, name: str, rows: Sequence[Row]) -> tuple[str, Sequence[tuple[str, str, str]]]:
    """Title and columns of a specimen: those of which it has anything."""
    head = rows[0]
    dose = head["electrons_per_sample"]
    title = f"{scan}: {name}, " + ("without noise" if dose is None else f"{dose:g} electrons a sample")
    if head["edge_width_true_px"] is not None:
        title += f", edges of {head['edge_width_true_px']:.1f} px"
    if head["defects_hit"] is not None:
        title += f", {head['defects_hit']:.0%} of its defects hit"
    return title, [column for column in _SPECIMEN if any(row[column[0]] is not None for row in rows)]
