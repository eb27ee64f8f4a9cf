"""Hold one table against the contract: what keeps it goes on, rows that break it are set aside and named.

`python -m pipelines.validate TABLE`. Rows that break a row rule (see `pipelines/validation/suites.py`) go to `quarantine.parquet`
(file, row counted from 0, column, value, rule; a line for each rule that a row breaks) and the run goes on, as long
as their share is at most `max_quarantine_share`. Above it, or where a table rule breaks, the run stops.

Of rows with the same key, and of events that are equal in all columns, one stays and the others are set aside: the
one whose other cells come first in order, so that the order of the input does not matter. Whatever happened, Great
Expectations' data docs tell it, in `.vitrine/data-docs/TABLE/`.

A table in parts stays in parts. One that is as it was, with the items that the products lack as they were, is not judged
again: its rows and its lines of the quarantine are taken over from the run that judged it, and the whole table's rules
are held to all of them. Events that are equal have one time, so that doubles are never in two parts.

Several files of one table are joined by the names of their columns; an optional column that one of them lacks is empty
there. A review whose language is not given gets it by its words (`models.language.tongue`); one in a language that is not
supported is kept and counted. Rows are streamed in blocks, so a table may be larger than memory. A file that the shop does not have is left
out, and so is the rule that ids must be known where the table that would know them is one the shop does not have.
"""

import contextlib
import datetime
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.language.tongue import language_of
from pipelines import engine
from pipelines.harness import Absent, BadConfig, BadData, Bug, Params, Run, stage
from pipelines.harness.shelf import Kept, Shelf, file_hash, link
from pipelines.tables import LANGUAGES, TABLES, Interactions, Questions, Reviews, Table
from pipelines.validation import suites
from pipelines.validation.judge import Judge
from pipelines.validation.quarantine import ORDER, SCHEMA, Quarantine
from pipelines.validation.suites import Limits, Rule, cell_text, flag

FILE, ROW = "_file", "_row"
WHOLE, BROKEN = "_whole ", "_broken "
"""Before the name of a column as it came, and of a mark."""
ENDING = ".parquet"
GOOD, ASIDE = "table.parquet", "quarantine.parquet"
"""A part's files on the shelf."""
TAG = re.compile("[-_]")
"""What parts a language's code from the country's."""
BLOCK_ROWS = 200_000
BLOB_ROWS = 2_000
"""Rows held at a time while they still carry pictures."""
SHOWN_ROWS = 3


class ValidateParams(Params):
    """The gate's limits."""

    max_quarantine_share: float
    """Of a table's rows; above it the run stops."""
    max_age_days: int
    """How old the newest row may be where rows have a time; 0: any age."""
    max_pixels: int
    """Of one picture."""
    memory_gb: float


@stage
def validate(run: Run, params: ValidateParams) -> None:
    """Write `table.parquet` and `quarantine.parquet` of the table that the instance names."""
    contract = TABLES.get(run.instance or "")
    if contract is None:
        raise BadConfig(f"validate {run.instance!r}: name one of {', '.join(TABLES)}")
    if not 0 <= params.max_quarantine_share < 1:
        raise BadConfig("validate.max_quarantine_share must be at least 0 and below 1")
    files = _inputs(run, contract.name)
    contract = _with_known_references(run, contract)
    judge = Judge(contract.name)
    spill = run.state.spill / run.name
    with engine.engine(run.threads, params.memory_gb, spill, run.tables) as con:
        gate = Gate(run, params, contract, files, judge, con)
        gate.lines = Quarantine(spill / "quarantine")
        try:
            gate.check_schema()
            gate.take_over()
            with gate.readable():
                gate.check_rows()
                gate.check_doubles()
            gate.save()
            gate.check_table()
        finally:
            if judge.judged:
                page = judge.publish(run.state.data_docs / contract.name)
                run.say(f"data docs: {page}")


def _inputs(run: Run, name: str) -> dict[str, Path]:
    """The files that the stage's deps name for this table and the shop has, by their path under the project.

    Raises `Absent` where it has none of them.
    """
    deps = [
        dep for dep in run.node.deps if dep.startswith("data/") and dep.endswith(f"/{name}.parquet")
    ]
    if not deps:
        raise Bug(f"dvc.yaml: no dep of {run.name} is called {name}.parquet")
    ask = run.optional if len(deps) > 1 else run.input
    found = {dep: ask(dep.removeprefix("data/")) for dep in deps}
    files = {dep: path for dep, path in found.items() if path}
    if not files:
        raise Absent("; ".join(dict.fromkeys(run.without.values())))
    return files


def _with_known_references(run: Run, contract: Table) -> Table:
    """The contract less its references to tables that the shop does not have.

    Raises `Absent` for questions without reviews, as their answers are slices of them.
    """
    known = {}
    for column, (other, key) in contract.references.items():
        path = f"validate-{other}/table.parquet"
        if run.input(path) if contract.name == "questions" else run.optional(path):
            known[column] = (other, key)
    return replace(contract, references=known)


def order_of(contract: Table, columns: list[str]) -> list[str]:
    """The columns that a clean table is sorted by: they name each row."""
    if contract.key:
        return list(contract.key)
    first = [Interactions.USER, Interactions.TIME, Interactions.ITEM]
    return first + [name for name in columns if name not in first]


def fits(found: pa.DataType, dtype: str) -> bool:
    """Whether a column of Arrow type `found` turns into the contract's type without loss or guess.

    >>> fits(pa.int32(), "float64"), fits(pa.string(), "float64"), fits(pa.timestamp("us"), "timestamp('UTC')")
    (True, False, False)
    """
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):
        return True
    wanted = ibis.dtype(dtype)
    whole = pa.types.is_integer(found) and not pa.types.is_uint64(found)
    if wanted.is_string():
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    if wanted.is_floating():
        return whole or pa.types.is_floating(found)
    if wanted.is_integer():
        return whole
    if wanted.is_timestamp():
        return pa.types.is_timestamp(found) and found.tz is not None
    if wanted.is_boolean():
        return pa.types.is_boolean(found)
    return pa.types.is_binary(found) or pa.types.is_large_binary(found)


@dataclass
class Gate:
    """One table's way through the gate; the methods are its steps, in the order of `validate`."""

    run: Run
    params: ValidateParams
    contract: Table
    files: dict[str, Path]
    judge: Judge
    con: Any
    columns: list[str] = field(init=False)
    kinds: dict[str, Any] = field(init=False)
    """The types of the columns, by the contract."""
    parts: list[Path] | None = field(init=False)
    """The files of a table in parts that are to be judged; None for another table."""
    names: dict[str, str] = field(default_factory=dict)
    """What each part's rows and lines are kept under, by its file's name."""
    shelf: Shelf = field(init=False)
    taken: dict[str, Kept] = field(default_factory=dict)
    """Parts that an earlier run judged, by their files' names."""
    source: ibis.Table = field(init=False)
    """All rows to be judged as they came, with the contract's types, `FILE` and `ROW`."""
    lines: Quarantine = field(init=False)
    """The quarantine so far, without that of `taken`."""
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Of each rule, by its title, the first lines."""
    total: int = 0
    broken: int = 0
    """Rows set aside."""
    out_of_order: int = 0

    @property
    def page(self) -> Path:
        """Where the data docs open."""
        return self.run.state.data_docs / self.contract.name / "index.html"

    def check_schema(self) -> None:
        """Hold the columns of all files against the contract; decide the columns of the table."""
        schemas = {name: self._schema(name, path) for name, path in self.files.items()}
        self.total = self.run.rows_in = sum(
            pq.read_metadata(file).num_rows
            for path in self.files.values()
            for file in engine.files_of(path)
        )
        wanted = self.contract.columns
        rows = []
        extra: dict[str, pa.DataType] = {}
        for name, schema in schemas.items():
            for column in dict.fromkeys([*wanted, *schema.names]):
                entry = wanted.get(column)
                there = column in schema.names
                kind = schema.field(column).type if there else None
                if entry is None:
                    same = extra.setdefault(column, kind) == kind
                else:
                    same = not there or fits(kind, entry.dtype)
                rows.append(
                    {
                        "column": f"{name}: {column} is {kind or 'absent'}, "
                        f"asked for is {entry.dtype if entry else extra[column]}",
                        flag("present", "column"): there or not (entry and entry.required),
                        flag("known column", "column"): entry is not None or self.contract.extra,
                        flag("type", "column"): same,
                    }
                )
        frame = pd.DataFrame(rows)
        rules = suites.schema_rules()
        found = self.judge.judge("columns", rules, frame)
        faults = [
            (rule, list(frame["column"].iloc[at]))
            for rule, at in zip(rules, found, strict=True)
            if at
        ]
        if faults:
            lines = [f"{self.contract.name}: the columns are not those of the contract"]
            lines += [
                f"what: {rule.name}: {words}" for rule, columns in faults for words in columns
            ][: 2 * SHOWN_ROWS]
            lines.append(f"how to fix it: {faults[0][0].cure}")
            raise BadData("\n".join([*lines, f"more: {self.page}"]))
        anywhere = [
            name for name in wanted if any(name in schema.names for schema in schemas.values())
        ]
        self.columns = [*anywhere, *extra]
        self.kinds = {name: wanted[name].dtype for name in anywhere}
        self.kinds |= {
            name: ibis.Schema.from_pyarrow(pa.schema([(name, kind)]))[name]
            for name, kind in extra.items()
        }
        path = next(iter(self.files.values()))
        self.parts = engine.files_of(path) if path.is_dir() else None
        self.source = self._union()

    def _schema(self, name: str, path: Path) -> pa.Schema:
        """The columns of a file, or of all parts of a table. Raises `BadData` where it can't be read."""
        schemas = []
        for file in engine.files_of(path):
            shown = name if file == path else f"{name}/{file.name}"
            try:
                schemas.append(pq.read_schema(file))
            except pa.ArrowInvalid as error:
                raise BadData(f"{shown} is no Parquet file: {error}. Write it again") from None
            if schemas[-1] != schemas[0]:
                raise BadData(
                    f"{shown} has other columns than the parts before it. Write all again"
                )
        if not schemas:
            raise BadData(f"{name} is a folder without a part. Write it again")
        return schemas[0]

    def _union(self) -> ibis.Table:
        """All files that are to be judged as one lazy table of the contract's types, with `FILE` and `ROW`."""
        tables = []
        for name, path in self.files.items():
            paths = [path] if self.parts is None else self.parts
            table = engine.read_numbered(self.con, paths or engine.files_of(path)[:1], FILE, ROW)
            cells = {
                column: table[column].cast(kind) if column in table.columns else ibis.null(kind)
                for column, kind in self.kinds.items()
            }
            file = table[FILE] if path.is_dir() else ibis.literal(name)
            table = table.select(**{FILE: file, ROW: table[ROW].cast("int64"), **cells})
            tables.append(table if paths else table.limit(0))
        return ibis.union(*tables) if len(tables) > 1 else tables[0]

    def take_over(self) -> None:
        """Find the parts that an earlier run judged as they are now; the others are left to be judged."""
        if self.parts is None:
            return
        self.shelf = Shelf(self.run)
        unknown = self._unknown()
        about = [
            {name: str(kind) for name, kind in self.kinds.items()},
            {key.decode(): words.decode() for key, words in self._note().items()},
        ]
        for path in self.parts:
            name = self.shelf.name("part", path.name, file_hash(path), unknown[path.name], about)
            self.names[path.name] = name
            kept = self.shelf.find(name)
            if kept:
                self.taken[path.name] = kept
        if not self.taken:
            return
        self.run.say(f"{len(self.taken):,} of {len(self.parts):,} parts were judged before")
        self.parts = [path for path in self.parts if path.name not in self.taken]
        self.broken = sum(kept.note["broken"] for kept in self.taken.values())
        self.source = self._union()

    def _unknown(self) -> dict[str, str]:
        """For each part a hash of the keys that it names and the tables that it refers to lack."""
        found = {path.name: hashlib.sha256() for path in self.parts or []}
        for column, (other, key) in self.contract.references.items():
            if column not in self.columns:
                continue
            there = engine.read_parquet(self.con, self.run.input(f"validate-{other}/table.parquet"))
            lacking = self.source.anti_join(there, [(column, key)]).select(FILE, column).distinct()
            for batch in engine.stream(lacking.order_by([FILE, column])):
                for file, cell in zip(*(one.to_pylist() for one in batch.columns), strict=True):
                    found[file].update(json.dumps([column, cell]).encode())
        return {name: digest.hexdigest() for name, digest in found.items()}

    def _note(self) -> dict[bytes, bytes]:
        """Where the rows come from."""
        return engine.provenance(self.files.values())

    def _with_references(self) -> ibis.Table:
        """The source with the flags that need another table."""
        table = self.source
        for column, (other, key) in self.contract.references.items():
            if column not in self.columns:
                continue
            there = engine.read_parquet(self.con, self.run.input(f"validate-{other}/table.parquet"))
            # A join, for not every engine can ask inside a cell whether a value is in another table.
            named = there.select(_known=there[key]).distinct()
            joined = table.left_join(named, table[column] == named["_known"])
            known = joined[column].isnull() | joined["_known"].notnull()
            table = joined.mutate(**{flag("known reference", column): known}).drop("_known")
        if self.contract.name == "questions":
            table = self._with_spans(table)
        return table

    def _with_spans(self, table: ibis.Table) -> ibis.Table:
        """Questions with the flag that tells whether an answer's span lies inside its review's text."""
        path = self.run.input("validate-reviews/table.parquet")
        reviews = engine.read_parquet(self.con, path)
        about = reviews.select(
            _review=reviews[Reviews.REVIEW],
            _length=reviews[Reviews.TEXT].length(),
            _item=reviews[Reviews.ITEM] if Reviews.ITEM in reviews.columns else ibis.null("string"),
        )
        for name in (Questions.REVIEW, Questions.START, Questions.END):
            if name not in table.columns:
                table = table.mutate(**{name: ibis.null(self.contract.columns[name].dtype)})
        joined = table.left_join(about, table[Questions.REVIEW] == about["_review"])
        start, end = joined[Questions.START], joined[Questions.END]
        none = joined[Questions.REVIEW].isnull() & start.isnull() & end.isnull()
        same_item = joined["_item"].isnull() | (joined["_item"] == joined[Questions.ITEM])
        inside = (start >= 0) & (start < end) & (end <= joined["_length"]) & same_item
        return joined.mutate(
            **{flag("span in review", Questions.START): none | inside.fill_null(False)}
        ).drop("_review", "_length", "_item")

    def check_rows(self) -> None:
        """Judge all rows by the row rules, block by block, and note those that break one."""
        table = self._with_references()
        schema = table.schema().to_pyarrow()
        plain = pa.schema([schema.field(name) for name in schema.names if name in self.columns])
        rules = suites.row_rules(self.contract, plain)
        seen = self._recall(rules)
        # Pictures are decoded here, whatever the engine.
        if not self._blobs() and self._judged_there(table, rules):
            return
        used = {rule.judged for rule in rules} | {rule.column for rule in rules}
        for block in self._blocks(table, rules):
            frame = block.select([name for name in block.column_names if name in used]).to_pandas()
            found = self.judge.judge("rows", rules, frame)
            self._set_aside(block, rules, found)
            seen += block.num_rows
            self.run.advance(0.6 * seen / max(self.total, 1), "rows")

    def _judged_there(self, table: ibis.Table, rules: list[Rule]) -> bool:
        """Have the rows judged where an engine has them, and note those that break a rule; False where it has none."""
        if engine.frame(self.con, table.limit(0)) is None:
            return False
        # A dot would be a way into a column, to Spark.
        rules = [replace(rule, judged=rule.judged.replace(".", "_")) for rule in rules]
        table = suites.table_flags(table, rules)
        # A cell that is no number breaks the rule of numbers alone; elsewhere it is as an empty one.
        numbers = [name for name in self.columns if table[name].type().is_floating()]
        cells = {name: table[name].isnan().ifelse(None, table[name]) for name in numbers}
        told = {
            rule.column: f"{WHOLE}{rule.column}" if rule.column in numbers else rule.column
            for rule in rules
        }
        table = table.mutate(
            **{told[name]: table[name] for name in numbers if name in told}, **cells
        )
        used = {rule.judged for rule in rules} | set(told.values())
        frame = engine.frame(self.con, table.select(FILE, ROW, *sorted(used)))
        marks = {rule.title: f"{BROKEN}{rule.title}" for rule in rules}
        conditions = self.judge.conditions(rules, frame)
        kept = engine.marked(
            self.con,
            "marked",
            frame,
            {marks[title]: condition for title, condition in conditions.items()},
        )
        self.run.advance(0.4, "rows")
        found = self.judge.judge_frame("rows", rules, frame)
        self.broken += engine.count(kept)
        for rule, number in zip(rules, found, strict=True):
            if number:
                rows = kept.filter(kept[marks[rule.title]])
                rows = rows.select(FILE, ROW, **{rule.column: rows[told[rule.column]]})
                self._note_rows("rows", rows, rule, number)
        self.run.advance(0.6, "rows")
        return True

    def _note_rows(self, suite: str, rows: ibis.Table, rule: Rule, number: int) -> None:
        """As `_set_aside`, of rows where an engine has them: `FILE`, `ROW` and the rule's column."""
        stopped, noted = self.stopped, 0
        shown = self.examples.setdefault(rule.title, [])
        rows = rows.order_by([FILE, ROW])
        for batch in engine.stream(rows.limit(SHOWN_ROWS) if stopped else rows):
            lines = self._lines(pa.Table.from_batches([batch]), rule)
            self.judge.show(suite, rule, lines["value"].slice(0, self.judge.SHOWN).to_pylist())
            shown += self._shown(lines.slice(0, SHOWN_ROWS - len(shown))).to_pylist()
            noted += len(lines)
            if not stopped:
                self.lines.add(lines)
        if not stopped and noted != number:
            raise Bug(f"{rule.title}: {number} rows break it, {noted} were found")

    def _recall(self, rules: list[Rule]) -> int:
        """Tell the judge what came out of the rows of the parts that are taken over; how many these are."""
        if not self.taken:
            return 0
        seen = sum(kept.note["rows"] for kept in self.taken.values())
        lines = self._taken_lines()
        double = suites.unique_rule(self.contract)
        for rule in [*rules, double]:
            mask = pc.and_(
                pc.equal(lines["rule"], rule.name), pc.equal(lines["column"], rule.column)
            )
            broken = lines.filter(mask)
            suite, looked_at = ("doubles", len(broken)) if rule is double else ("rows", seen)
            values = (cell.as_py() for cell in broken["value"])
            self.judge.recall(suite, rule, looked_at, len(broken), values)
            self.examples[rule.title] = self._shown(broken.slice(0, SHOWN_ROWS)).to_pylist()
        return seen

    def _taken_lines(self) -> pa.Table:
        """The quarantine of the parts that are taken over."""
        lines = [pq.read_table(kept.file(ASIDE)) for kept in self.taken.values()]
        return pa.concat_tables([SCHEMA.empty_table(), *lines])

    def _shown(self, lines: pa.Table) -> pa.Table:
        """Lines of the quarantine with the files' names as people know them."""
        if self.parts is None:
            return lines
        (folder,) = self.files
        names = pc.binary_join_element_wise(folder, lines["file"], "/")
        return lines.set_column(0, "file", names)

    def _blocks(self, table: ibis.Table, rules: list[Rule]) -> Iterator[pa.Table]:
        """Blocks of at most `BLOCK_ROWS` rows with all flags; pictures' bytes become words about them."""
        blobs = self._blobs()
        step = BLOB_ROWS if blobs else BLOCK_ROWS
        waiting: list[pa.Table] = []
        rows = 0
        for batch in engine.stream(table, step):
            block = suites.arrow_flags(
                pa.Table.from_batches([batch]), rules, self.params.max_pixels
            )
            for name in blobs:
                at = block.column_names.index(name)
                words = pa.array(
                    [cell_text(cell.as_py()) for cell in block.column(name)], pa.string()
                )
                block = block.set_column(at, name, words)
            if waiting and rows + block.num_rows > BLOCK_ROWS:
                yield pa.concat_tables(waiting)
                waiting, rows = [], 0
            waiting.append(block)
            rows += block.num_rows
        if waiting:
            yield pa.concat_tables(waiting)
        else:  # so that each rule has a verdict
            empty = table.schema().to_pyarrow().empty_table()
            yield suites.arrow_flags(empty, rules, self.params.max_pixels)

    def _set_aside(self, block: pa.Table, rules: list[Rule], found: list[list[int]]) -> None:
        """Note a line for each rule that a row breaks; once the run is to stop, only what the message shows."""
        stopped = self.stopped
        self.broken += len({at for positions in found for at in positions})
        for rule, positions in zip(rules, found, strict=True):
            shown = self.examples.setdefault(rule.title, [])
            if stopped:
                positions = positions[: SHOWN_ROWS - len(shown)]
            if not positions:
                continue
            part = block.select([FILE, ROW, rule.column]).take(pa.array(positions, pa.int64()))
            lines = self._lines(part, rule)
            shown += self._shown(lines.slice(0, SHOWN_ROWS - len(shown))).to_pylist()
            if not stopped:
                self.lines.add(lines)

    def _lines(self, rows: pa.Table, rule: Rule) -> pa.Table:
        """The lines of the quarantine about rows with `FILE`, `ROW` and the rule's column."""
        values = [cell_text(value) for value in rows.column(rule.column).to_pylist()]
        return pa.table(
            [
                rows.column(FILE).cast(pa.string()),
                rows.column(ROW),
                pa.array([rule.column] * len(rows), pa.string()),
                pa.array(values, pa.string()),
                pa.array([rule.name] * len(rows), pa.string()),
            ],
            schema=SCHEMA,
        )

    @property
    def allowed(self) -> int:
        """How many rows may be set aside."""
        return int(self.params.max_quarantine_share * self.total)

    @property
    def stopped(self) -> bool:
        """Whether more rows are set aside than may be: the rest of the steps has no use then."""
        return self.broken > self.allowed

    def _clean(self) -> ibis.Table:
        """The rows that nothing has been noted about."""
        lines = self.lines.table(self.con)
        aside = lines.select(**{FILE: lines["file"], ROW: lines["row"]}).distinct()
        return self.source.anti_join(aside, [FILE, ROW])

    def check_doubles(self) -> None:
        """Note the rows whose key (or all of whose cells) another row that keeps the rules has already."""
        if self.stopped:
            return
        clean = self._clean()
        cells = {
            name: engine.md5(clean[name]) if clean[name].type().is_binary() else clean[name]
            for name in self.columns
            if not clean[name].type().is_nested()
        }
        group = list(self.contract.key) or list(cells)
        rest = [name for name in cells if name not in group]
        again = ibis.row_number().over(group_by=group, order_by=[*rest, FILE, ROW])
        doubles = clean.select(FILE, ROW, **cells).mutate(_again=again).filter(ibis._["_again"] > 0)
        doubles = engine.keep(self.con, "doubles", doubles.select(FILE, ROW, group[0]))
        number = engine.count(doubles)
        rule = suites.unique_rule(self.contract)
        frame = engine.frame(self.con, doubles.mutate(**{rule.judged: ibis.literal(False)}))
        if frame is not None:
            self.broken += number
            self.judge.judge_frame("doubles", [rule], frame)
            self._note_rows("doubles", doubles, rule, number)
            return
        block = doubles.order_by([FILE, ROW]).limit(self.allowed + SHOWN_ROWS).to_pyarrow()
        frame = pd.DataFrame(
            {
                group[0]: block.column(group[0]).to_pandas(),
                rule.judged: pd.Series([False] * block.num_rows, dtype=bool),
            }
        )
        found = self.judge.judge("doubles", [rule], frame)
        self._set_aside(block, [rule], found)
        self.broken += number - block.num_rows

    def save(self) -> None:
        """Write the clean table, sorted, and the quarantine."""
        if self.stopped:
            return
        note = self._note()
        order = order_of(self.contract, self.columns)
        table = self._clean()
        target = self.run.output("table.parquet")
        step = BLOB_ROWS if self._blobs() else engine.BATCH_ROWS
        if self.parts is not None:
            self.run.rows_out = self._save_parts(table, self.parts, target, order, note)
        elif self.contract.name == "reviews":
            rows = table.select(self.columns)
            self.run.rows_out = self._save_reviews(rows, target, order, note)
        else:
            rows = table.select(self.columns)
            self.run.rows_out = engine.write(rows, target, order, note, step)
        self.out_of_order = sum(
            engine.out_of_order(file, order)
            for file in engine.files_of(target)
            if file.name not in self.taken
        )
        asides = [*self.lines.files, *(kept.file(ASIDE) for kept in self.taken.values())]
        lines = engine.read_parquet(self.con, asides)
        if self.parts is not None:
            (folder,) = self.files
            lines = lines.mutate(file=ibis.literal(f"{folder}/") + lines["file"])
        engine.write(lines, self.run.output("quarantine.parquet"), ORDER)
        self.run.measure("quarantined_rows", self.broken)
        self.run.measure("quarantined_share", self.broken / self.total if self.total else 0.0)

    def _save_parts(
        self,
        table: ibis.Table,
        parts: list[Path],
        target: Path,
        order: list[str],
        note: dict[bytes, bytes],
    ) -> int:
        """Write the parts that were judged beside those that are taken over, and keep them for later runs."""
        stem = table[FILE].substr(0, table[FILE].length() - len(ENDING))
        rows = table.select(*self.columns, **{engine.PART: stem})
        written = engine.write_parts(rows, target, [path.stem for path in parts], order, note)
        aside = self.run.output(ASIDE)
        for path in parts:
            own = self.lines.of(path.name)
            pq.write_table(own, aside, compression="zstd")
            about = {
                "rows": pq.read_metadata(path).num_rows,
                "good": written[path.stem],
                "broken": len(pc.unique(own["row"])),
            }
            files = {GOOD: target / path.name, ASIDE: aside}
            self.shelf.put(self.names[path.name], files, about)
            aside.unlink()
        for name, kept in self.taken.items():
            link(kept.file(GOOD), target / name)
        self.shelf.tidy()
        return sum(written.values()) + sum(kept.note["good"] for kept in self.taken.values())

    def _save_reviews(
        self, table: ibis.Table, target: Path, order: list[str], note: dict[bytes, bytes]
    ) -> int:
        """Write reviews with the language of each; name and count those in languages that nothing here reads."""
        if Reviews.LANGUAGE not in table.columns:
            table = table.mutate(**{Reviews.LANGUAGE: ibis.null("string")})
        spoken: Counter[str] = Counter()

        def told(batch: pa.RecordBatch) -> pa.RecordBatch:
            given = batch.column(Reviews.LANGUAGE).to_pylist()
            texts = batch.column(Reviews.TEXT).to_pylist()
            found = [
                TAG.split(tag)[0].lower() if tag else language_of(text)
                for tag, text in zip(given, texts, strict=True)
            ]
            spoken.update(found)
            at = batch.schema.names.index(Reviews.LANGUAGE)
            return batch.set_column(at, Reviews.LANGUAGE, pa.array(found, pa.string()))

        rows = engine.write(table, target, order, note, change=told)
        for language, count in sorted(spoken.items()):
            self.run.measure(f"language/{language}", count)
        others = {name: count for name, count in spoken.items() if name not in LANGUAGES}
        self.run.measure("unsupported_language", sum(others.values()))
        if others:
            words = ", ".join(f"{name} {others[name]:,}" for name in sorted(others))
            self.run.say(
                f"reviews in languages that are not supported are kept, and not read: {words}"
            )
        return rows

    def _blobs(self) -> list[str]:
        return [name for name in self.columns if self.source[name].type().is_binary()]

    def check_table(self) -> None:
        """Judge the table as a whole; raise `BadData` where it may not go on."""
        timed = next(
            (
                name
                for name in self.columns
                if name in self.contract.columns and self.source[name].type().is_timestamp()
            ),
            None,
        )
        newest = None
        if timed and not self.stopped:
            written = engine.read_parquet(self.con, self.run.output("table.parquet"))
            newest = written[timed].max().to_pyarrow().as_py()
        frame = pd.DataFrame(
            {
                "rows_out": [self.total - self.broken],
                "broken_share": [self.broken / self.total if self.total else 0.0],
                "out_of_order": [self.out_of_order],
                "age_days": pd.Series([age_days(newest)], dtype=float),
            }
        )
        limits = Limits(self.params.max_quarantine_share, self.params.max_age_days)
        rules = suites.table_rules(timed, limits)
        found = self.judge.judge("table", rules, frame)
        broken = [rule for rule, positions in zip(rules, found, strict=True) if positions]
        if broken:
            raise BadData("\n".join(self._complaint(broken[0], newest)))

    def _complaint(self, rule: Rule, newest: datetime.datetime | None) -> list[str]:
        """At most nine lines: what broke, where, three rows, how to fix it."""
        head = (
            f"{self.contract.name}: {self.broken:,} of {self.total:,} rows break a rule "
            f"({self.broken / max(self.total, 1):.1%}; at most {self.params.max_quarantine_share:.1%} may)"
        )
        outcomes = self.judge.outcomes("rows") + self.judge.outcomes("doubles")
        worst = sorted((item for item in outcomes if item.broken), key=lambda item: -item.broken)
        if rule.name != "few broken rows" or not worst:
            when = f", its newest row is of {newest.isoformat()}" if newest else ""
            files = ", ".join(self.files)
            return [
                f"{self.contract.name}: {rule.name}: broken",
                f"what: {rule.name}, where: {files}, column {rule.column}",
                f"there: {self.total - self.broken:,} good rows of {self.total:,}{when}",
                f"how to fix it: {rule.cure}",
                f"more: {self.page}",
            ]
        first = worst[0]
        examples = self.examples[first.rule.title]
        where = ", ".join(sorted({line["file"] for line in examples}))
        lines = [head, f"what: {first.rule.name} ({first.broken:,} rows)"]
        lines.append(f"where: {where}, column {first.rule.column}")
        for line in examples:
            value = " ".join(str(cell_text(line["value"], 80)).split())  # line ends are of the cell
            lines.append(f"  row {line['row']}: {value}")
        if worst[1:]:
            others = ", ".join(
                f"{item.rule.name} of {item.rule.column} ({item.broken:,})" for item in worst[1:4]
            )
            lines.append(f"also: {others}")
        return [*lines, f"how to fix it: {first.rule.cure}", f"more: {self.page}"]

    @contextlib.contextmanager
    def readable(self) -> Iterator[None]:
        """Tell bytes that are no text, which the engine refuses to read, from faults of the engine."""
        try:
            yield
        except engine.errors(self.con) as error:
            judged = [
                (name, path) if self.parts is None else (f"{name}/{part.name}", part)
                for name, path in self.files.items()
                for part in (self.parts or [path])
            ]
            for name, path in judged:
                fault = engine.undecodable(path)
                if fault:
                    column, rows = fault
                    raise BadData(
                        f"{self.contract.name}: readable text: broken\n"
                        f"what: bytes that are not UTF-8, where: {name}, column {column}\n"
                        f"rows: {', '.join(map(str, rows[:SHOWN_ROWS]))}\n"
                        "how to fix it: export the text as UTF-8"
                    ) from error
            raise


def age_days(newest: datetime.datetime | None) -> float | None:
    """Days since `newest`; negative where it lies ahead."""
    if newest is None:
        return None
    return (datetime.datetime.now(datetime.UTC) - newest).total_seconds() / 86400


if __name__ == "__main__":
    validate.main()
