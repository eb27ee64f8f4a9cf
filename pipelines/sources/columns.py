"""Their columns become ours: text becomes ids, numbers, moments; a cell that can't is named with its file and row."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ibis

from pipelines import engine
from pipelines.harness import BadConfig, BadData
from pipelines.sources import functions
from pipelines.sources.readers import Raw
from pipelines.sources.shop import Part, Take
from pipelines.tables import TABLES, Column, Reviews, Table

ROW = "_row"
SHOWN = 3
TRUE = ("true", "t", "yes", "y", "1", "in stock", "in_stock", "instock", "available", "enabled")
FALSE = (
    *("false", "f", "no", "n", "0", "out of stock", "out_of_stock", "outofstock"),
    *("unavailable", "disabled", "preorder", "backorder", "discontinued"),
)
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
WHOLE = r"^(-?\d+)\.0+$"
OFFSET = r"\d{1,2}:\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"
CURRENCY = r"[\s\x{00a0}\x{202f}'’€$£¥₹]|^[A-Z]{3}|[A-Z]{3}$"
"""What stands around or inside a number and is none of it."""
LABELS = Table(
    "picture_labels",
    ("image_key",),
    {"image_key": Column("string", True), "label": Column("string", True)},
)


@dataclass(frozen=True)
class Mapping:
    """One part's way into a canonical table. place: where `params.yaml` says it, for messages."""

    part: Part
    contract: Table
    place: str

    def check(self) -> None:
        """Raise `BadConfig` where the mapping is not one into this table."""
        given = {**self.part.columns, **self.part.constants}
        unknown = [
            name for name in given if name not in self.contract.columns and not self.contract.extra
        ]
        absent = [
            name
            for name, about in self.contract.columns.items()
            if about.required and name not in given
        ]
        if unknown or absent:
            faults = [f"{name} is none of {self.contract.name}" for name in unknown]
            faults += [f"{name} must be given" for name in absent]
            known = ", ".join(self.contract.columns)
            raise BadConfig(
                f"params.yaml, {self.place}.columns: {'; '.join(faults)}. Columns of {self.contract.name}: {known}"
            )

    def table(self, connection: Any, raws: list[Raw]) -> ibis.Table:
        """All rows of the part's files as canonical ones; nothing is read yet."""
        mapped = [self._mapped(raw, raw.open(raw.files)) for raw in raws]
        table = ibis.union(*mapped) if len(mapped) > 1 else mapped[0]
        return table.distinct() if self.part.distinct else table

    def left_out(self, raws: list[Raw]) -> int:
        """How many rows `leave_out` takes away; the files are read for it."""
        if not self.part.leave_out:
            return 0
        counts = (
            engine.count(table.filter(~self._kept(raw, table)))
            for raw in raws
            for table in [raw.open(raw.files)]
        )
        return sum(counts)

    def faults(self, connection: Any, raws: list[Raw]) -> Iterator[str]:
        """The first cells of each column that can't be read, one line each; each file is read again for it."""
        for raw in raws:
            for copy, path in raw.files.items():
                table = engine.numbered(connection, raw.open([copy]), ROW)
                table = table.filter(self._kept(raw, table))
                for name in self.part.columns:
                    cells = self._cells(raw, table, name)
                    soft = self._typed(cells, name, strict=False)
                    if cells.type().is_binary():
                        continue
                    found = table.select(
                        **{ROW: table[ROW], "cell": cells.cast("string"), "soft": soft}
                    )
                    bad = found.filter(found.cell.notnull() & found.soft.isnull())
                    for row in bad.select(ROW, "cell").limit(SHOWN).to_pyarrow().to_pylist():
                        yield (
                            f"{path}, row {row[ROW] + 1}, column {self._words(name)}: {row['cell'][:80]!r} "
                            f"{self._cure(name)}"
                        )

    def _words(self, name: str) -> str:
        take = self.part.columns[name]
        column = take.column if isinstance(take, Take) else take
        return column if isinstance(column, str) else " + ".join(column)

    def _cure(self, name: str) -> str:
        take = self.part.columns[name]
        if isinstance(take, Take) and take.values:
            return (
                f"is none of {self.place}.columns.{name}.values: add it there, or `*` for any other"
            )
        kind = ibis.dtype(self._dtype(name))
        common = (
            f"mend it, or name it in {self.place}.empty; `unreadable: empty` empties all such cells"
        )
        if kind.is_timestamp():
            return (
                f"is no time as {self.place}.time says: set its unit or formats there; or {common}"
            )
        if kind.is_floating() or kind.is_integer():
            return f"is no number: set {self.place}.decimal and .thousands; or {common}"
        return f"is no {kind}: {common}"

    def _dtype(self, name: str) -> str:
        about = self.contract.columns.get(name)
        return about.dtype if about else "string"

    def _mapped(self, raw: Raw, table: ibis.Table) -> ibis.Table:
        table = table.filter(self._kept(raw, table))
        strict = self.part.unreadable == "refuse"
        found: dict[str, ibis.Value] = {}
        for name in self.part.columns:
            found[name] = self._typed(self._cells(raw, table, name), name, strict)
        for name, text in self.part.constants.items():
            found[name] = self._typed(ibis.literal(text), name, strict)
        ours = [name for name in self.contract.columns if name in found]
        return table.select(**{name: found[name] for name in dict.fromkeys([*ours, *found])})

    def _kept(self, raw: Raw, table: ibis.Table) -> ibis.Value:
        kept = ibis.literal(True)
        for rule in self.part.leave_out:
            cells = self._text(self._column(raw, table, rule.column))
            hit = cells.fill_null("").lower().isin([value.lower() for value in rule.values])
            if rule.pattern:
                hit = hit | cells.re_search(rule.pattern)
            kept = kept & ~hit.fill_null(False)
        return kept

    def _column(self, raw: Raw, table: ibis.Table, name: str) -> ibis.Value:
        """A column by its name: exactly, else whatever its case, else as a field inside one. Raises `BadData`."""
        if name in raw.columns:
            return table[name]
        alike = [column for column in raw.columns if column.lower() == name.strip().lower()]
        if len(alike) == 1:
            return table[alike[0]]
        outer, _, inner = name.partition(".")
        if raw.nested and inner and outer in raw.columns:
            steps = "".join(
                f"[{step}]" if step.isdigit() else f'."{step}"' for step in inner.split(".")
            )
            return functions.json_extract_string(table[outer], f"${steps}")
        path = next(iter(raw.files.values()))
        raise BadData(
            f"{path} has no column {name!r}, which {self.place} in params.yaml asks for. It has: "
            f"{', '.join(raw.columns)}"
        )

    def _text(self, value: ibis.Value, join: str = " ", trim: bool = True) -> ibis.Value:
        """A cell as text, trimmed unless places in it are counted; null where it says nothing."""
        kind = value.type()
        if kind.is_array():
            value = value.cast("array<string>").join(join)
        elif kind.is_floating():
            # Ids with gaps are floats in Parquet: 12.0 is the id 12.
            whole = value == value.floor()
            value = whole.ifelse(value.try_cast("int64").cast("string"), value.cast("string"))
        value = value.cast("string")
        value = value.strip().nullif("") if trim else (value.strip() == "").ifelse(None, value)
        if self.part.empty:
            value = value.isin(self.part.empty).ifelse(ibis.null("string"), value)
        return value

    def _cells(self, raw: Raw, table: ibis.Table, name: str) -> ibis.Value:
        """The cells of our column `name` before they get their type."""
        take = self.part.columns[name]
        if isinstance(take, str):
            take = Take(column=take)
        names = [take.column] if isinstance(take.column, str) else take.column
        values = [self._column(raw, table, column) for column in names]
        plain = len(values) == 1 and not (take.list or take.pattern or take.values or take.hash)
        kind = values[0].type()
        if plain and not (kind.is_string() or kind.is_array()) and self._dtype(name) != "string":
            return values[0]
        texts = [self._text(value, take.join, name != Reviews.TEXT) for value in values]
        if take.list:
            texts = [self._joined(text, take.join) for text in texts]
        if take.hash:
            filled = [text.fill_null("") for text in texts]
            return ibis.literal("\x1f").join(filled).hexdigest("md5")
        text = texts[0]
        if len(texts) > 1:
            # Empty cells leave no double separator behind.
            parts = [text.fill_null("") for text in texts]
            text = ibis.array(parts).filter(lambda cell: cell != "").join(take.join).nullif("")
        if take.pattern:
            group = 1 if re.compile(take.pattern).groups else 0
            text = text.re_extract(take.pattern, group).nullif("")
        if take.html:
            text = text.re_replace(r"<[^>]*>", " ").re_replace(r"\s+", " ").strip().nullif("")
        if take.values:
            nothing = [key for key, become in take.values.items() if become == ""]
            if nothing:
                text = text.isin(nothing).ifelse(ibis.null("string"), text)
        return text

    def _joined(self, text: ibis.Value, join: str) -> ibis.Value:
        """A JSON list's entries, joined; a list of lists is taken as one."""
        flat = functions.entries(text, ibis.literal('["VARCHAR"]')).join(join)
        nested = text.re_replace(r"\]\s*,\s*\[", ",").re_replace(r"^\[\s*\[", "[")
        nested = nested.re_replace(r"\]\s*\]$", "]")
        deep = functions.entries(nested, ibis.literal('["VARCHAR"]')).join(join)
        return text.startswith("[[").ifelse(deep, flat).nullif("")

    def _typed(self, value: ibis.Value, name: str, strict: bool) -> ibis.Value:
        """Cells of our column's type. strict: one that can't be read fails, else it is null."""
        take = self.part.columns.get(name)
        if isinstance(take, Take) and take.values:
            value = self._replaced(value, take.values, name, strict)
        wanted = ibis.dtype(self._dtype(name))
        if wanted.is_string():
            return value.cast("string")
        if wanted.is_timestamp():
            return self._moment(value, strict)
        if not value.type().is_string():
            return value.cast(wanted)
        if wanted.is_boolean():
            word = value.lower()
            other = _failing(value, name) if strict else ibis.null("string")
            text = ibis.cases((word.isin(TRUE), "true"), (word.isin(FALSE), "false"), else_=other)
            return text.cast("boolean")
        if wanted.is_numeric():
            value = value.re_replace(CURRENCY, "")
            if self.part.thousands:
                value = value.replace(self.part.thousands, "")
            if self.part.decimal == ",":
                value = value.replace(",", ".")
            number = value.cast("float64") if strict else value.try_cast("float64")
            return number.cast(wanted)
        return value.cast(wanted)

    def _replaced(
        self, value: ibis.Value, values: dict[str, str], name: str, strict: bool
    ) -> ibis.Value:
        plain = value.re_replace(WHOLE, r"\1")
        known = {re.sub(WHOLE, r"\1", key): become for key, become in values.items() if become}
        other = known.pop("*", None)
        if other is None and strict:
            rest = _failing(value, name)
        else:
            rest = ibis.null("string") if other is None else ibis.literal(other)
        cases = [(plain == key, ibis.literal(become)) for key, become in known.items()]
        return ibis.cases((value.isnull(), ibis.null("string")), *cases, else_=rest)

    def _moment(self, value: ibis.Value, strict: bool) -> ibis.Value:
        when, kind = self.part.time, value.type()
        if kind.is_timestamp() and kind.timezone:
            return value.cast("timestamp('UTC')")
        if kind.is_timestamp() or kind.is_date():
            return functions.in_zone(when.zone, value.cast("timestamp")).cast("timestamp('UTC')")
        if kind.is_numeric() and not when.unit:
            raise BadConfig(
                f"params.yaml, {self.place}.time: its times are numbers: give their unit"
            )
        if when.unit:
            number = value.cast("string")
            count = number.cast("decimal(38, 9)") if strict else number.try_cast("decimal(38, 9)")
            micros = (count * (1_000_000 / PER_SECOND[when.unit])).round().cast("int64")
            return functions.make_timestamp(micros).cast("timestamp('UTC')")
        if when.formats:
            read = functions.strptime if strict else functions.try_strptime
            clock = read(value, ibis.literal(when.formats))
            return functions.in_zone(when.zone, clock).cast("timestamp('UTC')")
        exact = value.re_search(OFFSET)
        moment = exact.ifelse(value, ibis.null("string"))
        clock = exact.ifelse(ibis.null("string"), value)
        if strict:
            moment, clock = moment.cast("timestamp('UTC')"), clock.cast("timestamp")
        else:
            moment, clock = moment.try_cast("timestamp('UTC')"), clock.try_cast("timestamp")
        return ibis.coalesce(moment, functions.in_zone(when.zone, clock).cast("timestamp('UTC')"))


def _failing(value: ibis.Value, name: str) -> ibis.Value:
    """Fails where it is reached with a cell; null for an empty one."""
    word = functions.error(ibis.literal(f"{name}: ") + value)
    return value.isnull().ifelse(ibis.null("string"), word)


def contract_of(table: str) -> Table:
    """The contract of a canonical table, or of the labels of pictures."""
    return LABELS if table == LABELS.name else TABLES[table]


def check_zone(zone: str, place: str) -> None:
    """Raise `BadConfig` where a zone is no IANA name."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise BadConfig(
            f"params.yaml, {place}.time.zone {zone!r} is no IANA name, as Europe/Berlin is"
        ) from None
