"""Great Expectations: judges frames by the rules of `pipelines/validation/suites.py` and writes its data docs.

It takes seconds to import, so only a `Judge` that is made does it.
"""

import html
import itertools
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from pipelines.harness import Bug
from pipelines.validation.suites import Rule, cell_text

REMOTE = re.compile(
    r"""<link[^>]*https?://[^>]*>|<script[^>]*https?://[^>]*>\s*</script>|<img[^>]*https?://[^>]*>"""
    r"""|<footer.*?</footer>|url\('https?://[^)]*\)""",
    re.DOTALL,
)
"""What the pages would fetch from elsewhere: they must open from a disk, and tell nobody that they were opened."""
STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { border: 1px solid #ccc; padding: .25rem .6rem; text-align: left; }
.no { background: #fde8e6; }
</style>"""


@dataclass
class Outcome:
    """What came out for one rule over all blocks: rows looked at, rows broken, and the first few values."""

    rule: Rule
    looked_at: int = 0
    broken: int = 0
    values: list[Any] = field(default_factory=list)
    result: Any = None


class Judge:
    """Great Expectations: judges frames by rules, adds blocks up, writes the data docs.

    Nothing is written but the docs, nothing is sent.
    """

    SHOWN = 20

    def __init__(self, table: str) -> None:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        import great_expectations
        from great_expectations.data_context.types.base import ProgressBarsConfig

        self.table = table
        self._gx = great_expectations
        self._context = great_expectations.get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(
            globally=False, metric_calculations=False
        )
        source = self._context.data_sources.add_pandas(table)
        self._batches = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe(
            table
        )
        self._frames: Any = None
        self._outcomes: dict[str, list[Outcome]] = {}
        self._suites: dict[str, Any] = {}
        self._verdicts: dict[str, Any] = {}
        self._recalled: dict[tuple[str, str], Outcome] = {}

    def recall(
        self, suite: str, rule: Rule, looked_at: int, broken: int, values: Iterable[Any]
    ) -> None:
        """Take what came out for a rule of rows that were judged in an earlier run, before this one judges any."""
        shown = list(itertools.islice(values, self.SHOWN))
        self._recalled[suite, rule.title] = Outcome(rule, looked_at, broken, shown)

    def judge(self, suite: str, rules: list[Rule], frame: pd.DataFrame) -> list[list[int]]:
        """For each rule the positions in `frame` (from 0) that break it.

        Blocks judged under the same name of a suite are added up. Raises `Bug` where an expectation could not
        be computed: that is no verdict on the data.
        """
        self._begin(suite, rules)
        frame = frame.reset_index(drop=True)
        batch = self._batches.get_batch(batch_parameters={"dataframe": frame})
        verdict = batch.validate(self._suites[suite], result_format={"result_format": "COMPLETE"})
        by_rule = _by_rule(verdict, "unexpected_index_list")
        positions = []
        for outcome in self._outcomes[suite]:
            result = by_rule[outcome.rule.title]
            found = [int(at) for at in result.result["unexpected_index_list"] or []]
            positions.append(found)
            outcome.looked_at += len(frame)
            outcome.broken += len(found)
            if outcome.rule.column in frame:
                room = max(self.SHOWN - len(outcome.values), 0)
                outcome.values += list(frame[outcome.rule.column].iloc[found[:room]])
            outcome.result = result
        self._verdicts[suite] = verdict
        return positions

    def conditions(self, rules: list[Rule], frame: Any) -> dict[str, Any]:
        """For each rule, by its title, the condition under which a row of a frame of Spark's breaks it.

        Nothing is computed yet. Raises `Bug` where an expectation has no condition on Spark.
        """
        from great_expectations.validator.metric_configuration import MetricConfiguration
        from great_expectations.validator.metrics_calculator import MetricsCalculator

        asked = {}
        for rule in rules:
            metric = getattr(self._gx.expectations, rule.expectation).map_metric
            asked[rule.title] = MetricConfiguration(
                f"{metric}.condition", {"column": rule.judged}, _on_spark(rule.settings)
            )
        batch = self._on_frame(frame)
        engine = batch.data.execution_engine
        engine.load_batch_data(batch.id, batch.data)
        found, failed = MetricsCalculator(engine, show_progress_bars=False).compute_metrics(
            list(asked.values())
        )
        if failed:
            raise Bug(f"no condition on Spark: {'; '.join(map(str, failed.values()))}")
        return {title: found[one.id][0] for title, one in asked.items()}

    def judge_frame(self, suite: str, rules: list[Rule], frame: Any) -> list[int]:
        """As `judge`, of a frame of Spark's, where its rows are; for each rule how many rows break it."""
        self._begin(suite, [replace(rule, settings=_on_spark(rule.settings)) for rule in rules])
        verdict = self._on_frame(frame).validate(
            self._suites[suite],
            result_format={"result_format": "BASIC", "partial_unexpected_count": 0},
        )
        by_rule = _by_rule(verdict, "unexpected_count")
        numbers = []
        for outcome in self._outcomes[suite]:
            result = by_rule[outcome.rule.title]
            numbers.append(int(result.result["unexpected_count"] or 0))  # None: of no row
            outcome.looked_at += int(result.result["element_count"])
            outcome.broken += numbers[-1]
            outcome.result = result
        self._verdicts[suite] = verdict
        return numbers

    def show(self, suite: str, rule: Rule, values: Iterable[Any]) -> None:
        """Cells that break a rule of a frame: the first are shown."""
        outcome = next(one for one in self._outcomes[suite] if one.rule.title == rule.title)
        room = max(self.SHOWN - len(outcome.values), 0)
        outcome.values += list(itertools.islice(values, room))

    def _begin(self, suite: str, rules: list[Rule]) -> None:
        """Make a suite, where there is none of that name."""
        if suite in self._suites:
            return
        made = self._gx.ExpectationSuite(
            name=f"{self.table}-{suite}",
            expectations=[self._expectation(rule) for rule in rules],
        )
        self._suites[suite] = self._context.suites.add(made)
        self._outcomes[suite] = [
            self._recalled.get((suite, rule.title)) or Outcome(rule) for rule in rules
        ]

    def _on_frame(self, frame: Any) -> Any:
        """A frame of Spark's as a batch; nothing of it is kept in memory."""
        if self._frames is None:
            name = f"{self.table} on Spark"
            source = self._context.data_sources.add_spark(name, persist=False)
            asset = source.add_dataframe_asset(name)
            self._frames = asset.add_batch_definition_whole_dataframe(name)
        return self._frames.get_batch(batch_parameters={"dataframe": frame})

    @property
    def judged(self) -> bool:
        """Whether there is anything to publish."""
        return bool(self._verdicts)

    def outcomes(self, suite: str) -> list[Outcome]:
        """What came out for each rule so far."""
        return self._outcomes.get(suite, [])

    def publish(self, folder: Path) -> Path:
        """Write the data docs of all that was judged into `folder`, and return the page to open."""
        from great_expectations.core.run_identifier import RunIdentifier
        from great_expectations.data_context.types.resource_identifiers import (
            ExpectationSuiteIdentifier,
            ValidationResultIdentifier,
        )

        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        context = self._context
        for name in list(context.list_data_docs_sites()):
            context.delete_data_docs_site(name)
        context.add_data_docs_site(
            self.table,
            {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,  # type: ignore[typeddict-unknown-key] # its type lags behind
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(partial),
                },
            },
        )
        run = RunIdentifier(run_name=self.table)
        for name, suite in self._suites.items():
            identifier = ValidationResultIdentifier(
                expectation_suite_identifier=ExpectationSuiteIdentifier(name=suite.name),
                run_id=run,
                batch_identifier=suite.name,
            )
            verdict = self._verdict(name)
            verdict.meta["run_id"] = run
            context.validation_results_store.set(identifier, verdict)
        context.build_data_docs()
        for page in sorted(partial.rglob("*.html")):
            text = REMOTE.sub("", page.read_text(encoding="utf-8"))
            page.write_text(text.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")
        (partial / "index.html").write_text(self._index(partial), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        return folder / "index.html"

    def _expectation(self, rule: Rule) -> Any:
        kind = getattr(self._gx.expectations, rule.expectation)
        return kind(
            column=rule.judged,
            meta={"rule": rule.title},
            notes=f"{rule.name}, {rule.column}: {rule.cure}",
            **rule.settings,
        )

    def _verdict(self, suite: str) -> Any:
        """The last block's verdict with the figures of all blocks, and without the lists of all broken rows."""
        verdict = self._verdicts[suite]
        for outcome in self._outcomes[suite]:
            share = 100 * outcome.broken / outcome.looked_at if outcome.looked_at else 0.0
            outcome.result.success = outcome.broken == 0
            outcome.result.result = {
                "element_count": outcome.looked_at,
                "unexpected_count": outcome.broken,
                "unexpected_percent": share,
                "unexpected_percent_total": share,
                "partial_unexpected_list": [cell_text(value) for value in outcome.values],
            }
        kept = sum(outcome.broken == 0 for outcome in self._outcomes[suite])
        total = len(self._outcomes[suite])
        verdict.success = kept == total
        verdict.statistics = {
            "evaluated_expectations": total,
            "successful_expectations": kept,
            "unsuccessful_expectations": total - kept,
            "success_percent": 100 * kept / total if total else 100.0,
        }
        return verdict

    def _index(self, folder: Path) -> str:
        """The first page: every rule with its verdict, and the way to Great Expectations' own pages."""
        lines = []
        for name, suite in self._suites.items():
            page = next((folder / "validations" / suite.name).rglob("*.html"))
            link = quote(page.relative_to(folder).as_posix())
            lines.append(f'<h2><a href="{link}">{html.escape(name)}</a></h2>\n<table>')
            lines.append(
                "<tr><th>rule</th><th>column</th><th>looked at</th><th>broken</th><th>first values</th>"
                "<th>cure</th></tr>"
            )
            for outcome in self._outcomes[name]:
                values = "; ".join(str(cell_text(value, 60)) for value in outcome.values[:3])
                cells = (
                    outcome.rule.name,
                    outcome.rule.column,
                    f"{outcome.looked_at:,}",
                    f"{outcome.broken:,}",
                    values,
                    outcome.rule.cure if outcome.broken else "",
                )
                row = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
                lines.append(f'<tr class="{"no" if outcome.broken else "yes"}">{row}</tr>')
            lines.append("</table>")
        title = f"Data docs: {html.escape(self.table)}"
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>{STYLE}'
            f"</head>\n<body><h1>{title}</h1>\n" + "\n".join(lines) + "\n</body></html>\n"
        )


def _on_spark(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of an expectation with the meaning that they have to Python: Java knows more ends of a line."""
    return {name: f"(?d){value}" if name == "regex" else value for name, value in settings.items()}


def _by_rule(verdict: Any, wanted: str) -> dict[str, Any]:
    """The results of a verdict by the titles of their rules. wanted, raises: see `_refuse_errors`."""
    found = {result.expectation_config.meta["rule"]: result for result in verdict.results}
    for name, result in found.items():
        _refuse_errors(result, name, wanted)
    return found


def _refuse_errors(result: Any, name: str, wanted: str) -> None:
    """Raise `Bug` where Great Expectations met an error: it is told in one of two shapes, and nowhere else.

    wanted: what a result holds that is a verdict.
    """
    info = result.exception_info or {}
    several = [info] if "raised_exception" in info else list(info.values())
    for error in several:
        if error.get("raised_exception"):
            raise Bug(f"the rule {name!r} could not be judged: {error.get('exception_message')}")
    if wanted not in result.result:
        raise Bug(f"the rule {name!r} gave no verdict: {result.result}")
