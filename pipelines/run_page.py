"""Tell of the last run as one file, `.vitrine/report/run.html`: `python -m pipelines.run_page`.

What changed since each stage ran before, how long it took, what was decided, what the monitor saw last, then the whole
report. Times and decisions differ between equal runs, so they stand in this page and not in `data/report/report.html`,
which is an output with a hash.
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.harness.errors import MissingResource, VitrineError
from pipelines.harness.graph import read_graph
from pipelines.harness.state import State
from pipelines.harness.tracking import EXPERIMENT, client
from pipelines.journal import Journal
from pipelines.pages.whole_report import candidates
from pipelines.report import MAX_BYTES, environment
from pipelines.report_sections.capabilities import NAMES, named
from pipelines.report_sections.charts import bars

LOOKED = 8
"""Runs of a stage among which its last two good ones are looked for."""
DECISIONS = 12
SHOWN = 60
"""Letters of a parameter that are shown."""
FINISHED, FAILED = "FINISHED", "FAILED"


@dataclass(frozen=True)
class Past:
    """A stage's runs as MLflow keeps them: its newest good one, the good one before, and why the newest failed."""

    stage: str
    newest: Any
    before: Any
    failure: str

    @property
    def seconds(self) -> float:
        return float(self.newest.data.metrics.get("seconds", 0.0))


def page_path(state: State) -> Path:
    """Where the page lies."""
    return state.home / "report" / "run.html"


def write(root: Path) -> Path:
    """Write the page anew. Raises `MissingResource` where no stage has run, or MLflow can't be reached."""
    state = State(root)
    path = page_path(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(page(root))
    partial.replace(path)
    return path


def page(root: Path) -> bytes:
    """The page with as much of the report as `MAX_BYTES` allow: all, without its pictures, or a word on where it is."""
    templates = environment(Path(__file__).parent / "templates")
    template, seen = templates.get_template("run.html"), view(root)
    blank = str(templates.get_template("parts.html").module.blank())
    content = b""
    for held in candidates(root, blank):
        content = template.render(seen, held=held).encode("utf-8")
        if len(content) <= MAX_BYTES:
            break
    return content


def view(root: Path) -> dict[str, Any]:
    """What the template shows. Raises `MissingResource`."""
    state, graph = State(root), read_graph(root)
    tracking = client(state)
    experiment = tracking.get_experiment_by_name(EXPERIMENT).experiment_id
    pasts = [past_of(tracking, experiment, name) for name in graph.nodes]
    known = [one for one in pasts if one.newest]
    if not known:
        raise MissingResource("no stage has run: `make demo` runs them")
    first = next(iter(graph.nodes.values())).meta["dag"]
    leading = [one for one in known if graph.nodes[one.stage].meta["dag"] == first] or known
    last = max(leading, key=lambda one: one.newest.info.start_time).newest
    parent = tracking.get_run(last.data.tags["mlflow.parentRunId"])
    ran = [one for one in known if one.newest.info.start_time >= parent.info.start_time]
    drawn = [
        {"name": one.stage, "value": one.seconds, "told": f"{one.seconds:,.1f} s"} for one in ran
    ]
    label = "Seconds of each stage that ran"
    ends = max(one.newest.info.end_time for one in ran)
    return {
        "run": parent.data.tags.get("mlflow.runName", parent.info.run_id),
        "profile": parent.data.tags.get("profile", "unknown"),
        "begun": moment(parent.info.start_time),
        "wall": (ends - parent.info.start_time) / 1000,
        "work": sum(one.seconds for one in ran),
        "ran": len(ran),
        "same": [one.stage for one in known if one not in ran],
        "failures": [{"stage": one.stage, "why": one.failure} for one in pasts if one.failure],
        "first": [one.stage for one in ran if one.before is None],
        "changes": [{"stage": one.stage, "lines": changes(one)} for one in ran if changes(one)],
        "rows": [row(one, one in ran) for one in known],
        "wide": bars(drawn, 700, names=True, label=label),
        "narrow": bars(drawn, 310, names=False, label=label),
        "decisions": decided(Journal(state)),
        "look": newest_look(state),
    }


def past_of(tracking: Any, experiment: str, stage: str) -> Past:
    """What MLflow knows of a stage of this experiment."""
    runs = tracking.search_runs(
        [experiment],
        f"tags.stage = '{stage}'",
        max_results=LOOKED,
        order_by=["attributes.start_time DESC"],
    )
    good = [run for run in runs if run.info.status == FINISHED]
    failure = ""
    if runs and runs[0].info.status == FAILED:
        failure = runs[0].data.tags.get("error", "failed")
    return Past(stage, good[0] if good else None, good[1] if len(good) > 1 else None, failure)


def changes(past: Past) -> list[str]:
    """What is other than in the run before, where there is one: rows, quality, parameters, whether the stage is off."""
    if past.before is None:
        return []
    new, old = past.newest.data, past.before.data
    found = []
    for name in ("rows_in", "rows_out"):
        a, b = old.metrics.get(name), new.metrics.get(name)
        if a is not None and b is not None and a != b:
            found.append(f"{named(name)}: {a:,.0f} → {b:,.0f}")
    a, b = old.metrics.get("quality"), new.metrics.get("quality")
    if a is not None and b is not None and a != b:
        found.append(f"{named(new.tags.get('quality', 'quality'))}: {a:.4f} → {b:.4f}")
    for name in sorted({*old.params, *new.params}):
        a, b = old.params.get(name, "none"), new.params.get(name, "none")
        if a != b:
            found.append(f"{name}: {a[:SHOWN]} → {b[:SHOWN]}")
    if old.tags.get("why") != new.tags.get("why"):
        why = new.tags.get("why")
        found.append(f"off: {why}" if why else "on again")
    return found


def row(past: Past, ran: bool) -> dict[str, Any]:
    """A stage's line of the table; quality is None where it judges nothing."""
    run = past.newest
    figures = run.data.metrics
    before = past.before.data.metrics if past.before else {}
    quality = None
    if "quality" in figures:
        quality = {"metric": named(run.data.tags.get("quality", "")), "value": figures["quality"]}
        quality |= {"low": figures["quality_low"], "high": figures["quality_high"]}
        quality["before"] = before.get("quality")
    return {
        "stage": past.stage,
        "ran": ran,
        "when": moment(run.info.start_time),
        "seconds": past.seconds,
        "before": before.get("seconds"),
        "rows_in": figures.get("rows_in", 0),
        "rows_out": figures.get("rows_out", 0),
        "megabytes": figures.get("peak_memory_mb", 0),
        "quality": quality,
        "off": run.data.tags.get("why", ""),
    }


def decided(journal: Journal) -> list[dict[str, Any]]:
    """The journal's newest lines, newest first."""
    return [
        {
            "when": line["when"],
            "name": NAMES.get(line["capability"], line["capability"]),
            "outcome": line["outcome"],
            "old": (line["from"] or "")[:8],
            "new": line["to"][:8],
            "who": line["who"],
            "reason": line["reason"],
        }
        for line in reversed(journal.entries()[-DECISIONS:])
    ]


def newest_look(state: State) -> Mapping[str, Any] | None:
    """What the monitor saw last, None where it never looked."""
    path = state.home / "monitor" / "newest.json"
    if not path.exists():
        return None
    look: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return {**look, "drift": [one for one in look["findings"] if one["check"] == "drift"]}


def moment(milliseconds: int) -> str:
    """A time of MLflow's, in UTC.

    >>> moment(0)
    '1970-01-01 00:00:00'
    """
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds / 1000))


def main(root: Path) -> int:
    """Write the page and print its place."""
    try:
        print(write(root))
    except VitrineError as error:
        print(f"run page: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
