"""A proposal in words: what becomes what and why, five rows of each table, what is asked, what is off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines import engine
from pipelines.harness import VitrineError
from pipelines.harness.graph import read_graph
from pipelines.inspecting.looking import Look
from pipelines.inspecting.proposal import Proposal
from pipelines.sources import readers
from pipelines.sources.columns import Mapping, contract_of
from pipelines.sources.shop import Part, Take
from pipelines.split import NEEDED
from pipelines.tables import TABLES

ROWS = 5
WIDTH = 40
TITLES = "data/text-features/products.parquet"
"""What nothing that reads it can do without."""
LABELLED = {"recognition": "labels of images", "sentiment": "labels of reviews"}
"""Task to what it can't do without beside its tables."""


def lines(
    connection: Any, proposal: Proposal, looks: list[Look], root: Path, spill: Path
) -> Iterator[str]:
    """All that there is to say, line by line."""
    for table, parts in proposal.parts.items():
        yield f"{table}"
        for ground in proposal.grounds.get(table, []):
            yield f"  {ground}"
        for at, part in enumerate(parts):
            for ours, theirs in part.columns.items():
                yield f"    {ours:<14} from {_words(theirs)}"
            for ours, text in part.constants.items():
                yield f"    {ours:<14} is always {text}"
            yield from _rows(connection, table, at, part, looks, spill)
        yield ""
    for line in proposal.unusable:
        yield f"not used: {line}"
    off = stages_off(root, proposal)
    for why, stages in off.items():
        yield f"off: {', '.join(stages)} ({why})"
    for question in proposal.questions:
        yield f"question: {question.text}"
        for option in question.options:
            yield f"    --choose {question.key}={option}"


def _words(theirs: str | Take) -> str:
    if isinstance(theirs, str):
        return theirs
    names = theirs.column if isinstance(theirs.column, str) else " + ".join(theirs.column)
    how = [
        "hash" if theirs.hash else "",
        f"pattern {theirs.pattern}" if theirs.pattern else "",
        f"values {theirs.values}" if theirs.values else "",
        f"joined by {theirs.join!r}" if theirs.list else "",
    ]
    return f"{names} ({'; '.join(word for word in how if word) or 'joined'})"


def _rows(
    connection: Any, table: str, at: int, part: Part, looks: list[Look], spill: Path
) -> Iterator[str]:
    """Five rows as they would become; or why they can't."""
    if part.format in ("archive", "pictures"):
        one = next(look for look in looks if look.part.files == part.files)
        for row in one.rows.slice(0, ROWS).to_pylist():
            yield f"    | image_key={row['stem']} | label={row[part.columns['label']] if 'label' in part.columns else ''}"
        return
    way = Mapping(part, contract_of(table), f"shop.{table}[{at}]")
    try:
        way.check()
        raws = readers.read(connection, part, Path(), spill / f"{table}-{at}")
        rows = way.table(connection, raws).limit(ROWS).to_pyarrow().to_pylist()
    except VitrineError as error:
        yield f"    not yet: {error}"
        return
    except engine.reading_errors(connection) as error:
        found = list(way.faults(connection, raws)) or [str(readers.refuse(error, raws))]
        for fault in found[:ROWS]:
            yield f"    can't be read: {fault}"
        return
    for row in rows:
        cells = (f"{name}={_cell(value)}" for name, value in row.items())
        yield f"    | {' | '.join(cells)}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    text = " ".join(text.split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def stages_off(root: Path, proposal: Proposal) -> dict[str, list[str]]:
    """Reason to the stages that would have nothing to do."""
    there = {table for table in TABLES if proposal.parts.get(table)}
    if "picture_labels" in proposal.parts or any(
        "label" in part.columns for part in proposal.parts.get("images", [])
    ):
        there.add(LABELLED["recognition"])
    if any(
        "label" in {**part.columns, **part.constants} for part in proposal.parts.get("reviews", [])
    ):
        there.add(LABELLED["sentiment"])
    off: dict[str, list[str]] = {}
    nodes = read_graph(root).nodes.values()
    for task, tables in NEEDED.items():
        needed = [*tables, *([LABELLED[task]] if task in LABELLED else [])]
        lacking = [name for name in needed if name not in there]
        if lacking:
            # What reads the splits of several tasks goes on with the others.
            stages = [
                node.name
                for node in nodes
                if any(f"{dep}/".startswith(f"data/split/{task}/") for dep in node.deps)
                and sum(dep.startswith("data/split/") for dep in node.deps) == 1
            ]
            off.setdefault(f"no {', no '.join(lacking)}", []).extend(stages)
    if "products" not in there:
        makers = {node.name for node in nodes if TITLES in node.deps}
        known = {stage for stages in off.values() for stage in stages}
        off.setdefault("no products", []).extend(
            node.name
            for node in nodes
            if (node.name.partition("@")[2] or node.name) in makers and node.name not in known
        )
    return off
