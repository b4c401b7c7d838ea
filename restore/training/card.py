"""The model card that every weights file ships with, written from the run itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from restore.training.config import TrainConfig
from scancontrol.files import read_csv, to_yaml

__all__ = ["model_card", "with_evaluation"]

_EVALUATION = "## Evaluation"


_FACES = {
    "faithful": "faithful face (lowest error)",
    "realistic": "realistic face (trained adversarially: detail looks as a micrograph's does, and is made up)",
}


def model_card(
    name: str, face: str, digest: str, run: Path, notes: dict[str, Any], images: Path, parameters: int
) -> str:
    """Markdown: what the weights are for, what they were trained on and how, and how well they learnt.

    Args:
        notes: of the run's checkpoint. images: manifest or folder that it was trained from.
    """
    config = msgspec.convert(notes["config"], TrainConfig)
    settings = to_yaml(config)
    parts = [
        f"# {name}",
        f"Restores partial scans of any path, coverage 1/5 to 1/100 and frame size. "
        f"{parameters / 1e6:.2f} M parameters, {_FACES[face]}. Hash `{digest}`.",
        "## Use and limits",
        "For live and offline restoration of electron micrographs. Not a measurement: where the interval is wide the "
        "frame is a guess, and rare structure far from the path is lost or smoothed. Intervals were calibrated on the "
        "held-out groups below; on a specimen unlike any of them only the rescaling by withheld samples protects them. "
        "Those of frames whose readings' noise is stated are of the specimen without noise, calibrated on simulated "
        "ones and on the held-out groups at half their size.",
        "## Training",
        f"{notes['steps_done']} steps, {notes['minutes']:.0f} minutes on {notes.get('machine', 'a machine')}, "
        f"{notes['images_drawn']} crops. Learning curve: error against the truth as it is, in per cent, on held-out "
        f"groups and on noise-free specimens.",
        _curve(run / "validation.csv"),
        "## Data",
        _data(images, config),
        "## Configuration",
        f"```yaml\n{settings}```",
    ]
    return "\n\n".join(parts) + "\n"


def with_evaluation(card: str, images: str, table: str) -> str:
    """A model card with the tables of an evaluation at its end, in place of those that it had.

    Args:
        images: what was evaluated on, in words. table: Markdown, its headings of the third level.
    """
    return f"{card.partition(_EVALUATION)[0].rstrip()}\n\n{_EVALUATION}\n\nOn {images}.\n{table}"


def _curve(path: Path) -> str:
    if not path.exists():
        return "(no validation was done)"
    rows = read_csv(path, "learning curve")
    names = [key for key in rows[0] if key.endswith("_pct")]
    lines = ["| minutes | steps | " + " | ".join(name[:-4].replace("_", " ") for name in names) + " |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for row in rows:
        values = " | ".join(f"{float(row[name]):.2f} ({float(row[name[:-4] + '_start']):.2f})" for name in names)
        lines.append(f"| {float(row['minutes']):.0f} | {float(row['step']):.0f} | {values} |")
    return "\n".join(lines) + "\n\nIn brackets: the spectral start that the network corrects."


def _data(images: Path, config: TrainConfig) -> str:
    if not images.is_file():
        return f"A folder of micrographs; held out: {', '.join(config.holdout_groups) or 'none'}."
    rows = [row for row in read_csv(images, "manifest") if config.split is None or row.get("split") == config.split]
    sources = Counter((row.get("source_repo", ""), row.get("licence", ""), row.get("modality", "")) for row in rows)
    lines = ["| source | licence | modality | images |", "|---|---|---|---|"]
    lines += [f"| {repo} | {licence} | {kind} | {n} |" for (repo, licence, kind), n in sorted(sources.items())]
    held = sum(row.get("group") in config.holdout_groups for row in rows)
    return (
        f"{len(rows)} images of the {config.split} split, of which {held} were held out for the curve and the "
        f"calibration ({', '.join(config.holdout_groups)}).\n\n" + "\n".join(lines)
    )
