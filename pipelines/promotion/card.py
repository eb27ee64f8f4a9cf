"""The model card: what a registered version is, made from the run that registered it and from nothing else."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from models.metrics import HIGH, LOW

SOURCE, LICENCE = b"vitrine.source", b"vitrine.licence"
HUB = "hub:"
LEXICONS = {"pipelines/packaged/lexicons.py": "vaderSentiment"}
"""Module that reads a lexicon, to the package that it lies in."""
SLICES_SHOWN = 12
SIDES = {
    "confidence": "its confidence: 1 - Brier score",
    "coverage": "share of the catalogue on some list",
    "full": "share of users with a full list",
    "variety": "pairs on a list of different categories",
}
LIMITED = {
    "tiny": "Trained on a made shop (profile `tiny`): it tells nothing about a real one.",
    "smoke": "Trained on a part of the data (profile `smoke`).",
}


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    name: the registered name. about: one sentence, as `dvc.yaml` has it. manifest, rows: hashes of the bundle and
    the frozen test rows; fitted: of the rows that it was fitted and chosen on. run: page of the training run, or "". figures: `metrics.json` of the evaluation. params: those of the training stage.
    sources: (source, licence) pairs. dates: name to ISO time. megabytes: size of the bundle.
    """

    name: str
    about: str
    profile: str
    commit: str
    manifest: str
    rows: str
    fitted: str
    run: str
    figures: Mapping[str, Any]
    params: Mapping[str, Any]
    sources: list[tuple[str, str]]
    dates: Mapping[str, str]
    megabytes: float


def write_card(facts: Facts) -> str:
    """The card as Markdown. Its most important parts come first, since a registry may cut a long text."""
    head = facts.figures["headline"]
    measures = facts.figures["measures"]
    parts = [
        f"# {facts.name}",
        facts.about,
        f"Bundle `{facts.manifest}`, {facts.megabytes:.1f} MB of safetensors and JSON, trained with the profile "
        f"`{facts.profile}` at commit `{facts.commit[:12]}` on rows `{facts.fitted[:12]}`"
        + (f" ([training run]({facts.run}))." if facts.run else "."),
        "## Figures",
        f"On {facts.figures['rows_in']:,} frozen test rows (hash `{facts.rows[:12]}`), with 95 % bootstrap intervals:",
        "\n".join(_figures(head, measures)),
        "\n".join(_slices(measures)),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(facts)),
        "## Data and licences",
        "\n".join(f"- {source}: {licence}" for source, licence in facts.sources)
        or "The tables that it was trained on name no source.",
        "\n".join(f"- {name}: {when}" for name, when in sorted(facts.dates.items())),
        "## How to load",
        f'```python\nimport mlflow.pyfunc\n\nmodel = mlflow.pyfunc.load_model("models:/{facts.name}@champion")\n'
        "model.predict(frame)  # the columns are those of the signature\n```",
        "## Parameters",
        ", ".join(f"{key} = {value}" for key, value in sorted(facts.params.items())) or "none",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(head: Mapping[str, Any], measures: Mapping[str, float]) -> list[str]:
    lines = [
        "| | " + head["metric"] + " |",
        "|---|---|",
        f"| this model | {head['value']:.4f} [{head['low']:.4f}, {head['high']:.4f}] |",
    ]
    for begin in ("baseline/", "side/", "also/"):
        for name in sorted(measures):
            if name.startswith(begin) and not name.endswith((LOW, HIGH)):
                shown = name.removeprefix(begin)
                shown = SIDES.get(shown, shown) if begin == "side/" else shown
                lines.append(f"| {shown} | {_told(measures, name)} |")
    lines.append(
        f"| gain over {head['baseline']} | {measures['gain']:+.4f} [{head['gain_low']:+.4f}, {head['gain_high']:+.4f}] |"
    )
    return lines


def _told(measures: Mapping[str, float], name: str) -> str:
    """A figure with its interval, where it has one."""
    low, high = (measures.get(f"{name}{end}") for end in (LOW, HIGH))
    interval = "" if low is None or high is None else f" [{low:.4f}, {high:.4f}]"
    return f"{measures[name]:.4f}{interval}"


def _by_slice(measures: Mapping[str, float]) -> list[tuple[str, float, float, int]]:
    """(name, this model, best baseline, rows) of each slice, the largest first."""
    names = [
        name.removeprefix("slice/")
        for name in measures
        if name.startswith("slice/") and not name.endswith((LOW, HIGH))
    ]
    found = [
        (
            name,
            measures[f"slice/{name}"],
            measures[f"slice_baseline/{name}"],
            int(measures[f"slice_rows/{name}"]),
        )
        for name in names
    ]
    return sorted(found, key=lambda line: (-line[3], line[0]))


def _slices(measures: Mapping[str, float]) -> list[str]:
    found = _by_slice(measures)
    if not found:
        return []
    lines = ["| slice | rows | this model | best baseline |", "|---|---|---|---|"]
    for name, _, _, rows in found[:SLICES_SHOWN]:
        ours, theirs = (_told(measures, f"{part}/{name}") for part in ("slice", "slice_baseline"))
        lines.append(f"| {name} | {rows:,} | {ours} | {theirs} |")
    if len(found) > SLICES_SHOWN:
        lines.append(f"| {len(found) - SLICES_SHOWN} smaller slices | | | |")
    return lines


def _limits(facts: Facts) -> list[str]:
    head = facts.figures["headline"]
    lines = ["Measured on rows like those it was trained on; on others it was not measured."]
    if head["gain_low"] <= 0:
        lines.append(
            f"Its gain over {head['baseline']} is within chance (the interval reaches {head['gain_low']:+.4f})."
        )
    behind = [
        name for name, ours, theirs, _ in _by_slice(facts.figures["measures"]) if ours < theirs
    ]
    if behind:
        lines.append(f"Behind {head['baseline']} on: {', '.join(behind[:SLICES_SHOWN])}.")
    if facts.profile in LIMITED:
        lines.append(LIMITED[facts.profile])
    return lines


def provenance(folders: list[Path]) -> list[tuple[str, str]]:
    """(source, licence) of each Parquet table under `folders` that names them, each pair once, sorted.

    A table made from several sources names them in one text, parted by `; `.
    """
    found = set()
    for folder in folders:
        for path in sorted(folder.rglob("*.parquet")):
            notes = pq.read_schema(path).metadata or {}
            if SOURCE in notes:
                licence = notes.get(LICENCE, b"not stated").decode()
                found |= {(source, licence) for source in notes[SOURCE].decode().split("; ")}
    return sorted(found)


def encoders(folders: list[Path]) -> list[tuple[str, str]]:
    """(package, licence) of the frozen weights in each of the encoders' folders; those without weights have none.

    What licence weights from a hub have, their page there says: nothing of it comes with them.
    """
    notes = [json.loads((folder / "source.json").read_text("utf-8")) for folder in folders]
    found = [
        (note["package"], note.get("licence", "not stated")) for note in notes if "package" in note
    ]
    names = [str(note["encoder"]) for note in notes]
    hub = [name.removeprefix(HUB) for name in names if name.startswith(HUB)]
    return sorted([*found, *((name, f"see https://huggingface.co/{name}") for name in hub)])


def lexicons(deps: Iterable[str]) -> list[tuple[str, str]]:
    """(package, licence) of the rated words that a model is made with, by the modules that its stages run."""
    names = sorted(package for module, package in LEXICONS.items() if module in set(deps))
    about = [metadata(name) for name in names]
    return [
        (f"{one['Name']} {one['Version']}, its lexicon", one["License"] or "not stated")
        for one in about
    ]
