"""What each table is held to: Great Expectations suites derived from the contract in `pipelines/tables.py`.

A rule is one expectation with the words that a person needs when it breaks. Row rules are judged on blocks of rows
held in memory, and a row that breaks one is set aside. Table rules are judged on small frames of aggregates, and one
that breaks stops the run. What needs code (text, pictures, references) is computed before as a column of booleans, a
flag, which Great Expectations then expects to be true: `flag("text", "title")` is the name of such a column.

`pipelines/validation/judge.py` hands the rules to Great Expectations.
"""

import datetime
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.harness import Bug
from pipelines.tables import (
    EVENTS,
    SENTIMENTS,
    Images,
    Interactions,
    Products,
    Questions,
    Reviews,
    Table,
)

FORMATS = ("JPEG", "PNG", "WEBP")
"""The only decoders that foreign bytes reach; others of the library have had faults."""
EARLIEST = datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC)
LATEST = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
UNREADABLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x{fffd}]"
"""Control characters (tab and line ends are text) and the mark that a failed decoding leaves behind."""
NOT_BLANK = r"[^\x09-\x0d\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
"""A character that is no white space, as Arrow's `utf8_trim_whitespace` knows it."""
POSITIVE = {"min_value": 0, "strict_min": True, "max_value": sys.float_info.max}
NOT_NEGATIVE = {"min_value": 0, "max_value": sys.float_info.max}
SETS = {
    ("interactions", Interactions.EVENT): EVENTS,
    ("reviews", Reviews.LABEL): SENTIMENTS,
}
RANGES: dict[tuple[str, str], dict[str, Any]] = {
    ("interactions", Interactions.VALUE): POSITIVE,
    ("interactions", Interactions.PRICE): NOT_NEGATIVE,
    ("products", Products.PRICE): NOT_NEGATIVE,
    ("reviews", Reviews.RATING): {"min_value": 0, "max_value": 10},
}
PATTERNS = {
    ("products", Products.CURRENCY): "^[A-Z]{3}$",
    ("reviews", Reviews.LANGUAGE): "^([A-Za-z]{2,3}([-_][A-Za-z0-9]+)*)?$",
}


@dataclass(frozen=True, eq=False)
class Rule:
    """One expectation: its class in Great Expectations, its settings, and the cure when it breaks.

    column: the column that it is about. judged: the column of the frame that the expectation looks at: `column`
    itself, or a flag.
    """

    name: str
    column: str
    expectation: str
    settings: dict[str, Any]
    cure: str
    judged: str

    @property
    def title(self) -> str:
        """What names the rule among those of its table."""
        return f"{self.name}: {self.column}"


def flag(rule: str, column: str) -> str:
    """The name of the column of booleans that tells which cells of `column` keep `rule`."""
    return f"{rule}: {column}"


def _flagged(rule: str, column: str, cure: str) -> Rule:
    return Rule(
        rule, column, "ExpectColumnValuesToBeInSet", {"value_set": [True]}, cure, flag(rule, column)
    )


def row_rules(contract: Table, schema: pa.Schema) -> list[Rule]:
    """The rules that each row of a table with these columns must keep."""
    rules: list[Rule] = []
    for column in schema.names:
        entry = contract.columns.get(column)
        kind = schema.field(column).type
        place = (contract.name, column)
        if entry and entry.required:
            rules.append(
                Rule(
                    "given",
                    column,
                    "ExpectColumnValuesToNotBeNull",
                    {},
                    f"give every row its {column}",
                    column,
                )
            )
            if pa.types.is_string(kind):
                rules.append(_flagged("not blank", column, f"give every row its {column}"))
        if pa.types.is_string(kind):
            rules.append(
                _flagged(
                    "readable text",
                    column,
                    "export the text as UTF-8, without control characters and without U+FFFD",
                )
            )
        if pa.types.is_floating(kind) and entry:
            rules.append(
                _flagged("a number", column, "leave a cell empty rather than NaN or infinite")
            )
        if pa.types.is_timestamp(kind) and entry:
            rules.append(
                Rule(
                    "plausible time",
                    column,
                    "ExpectColumnValuesToBeBetween",
                    {"min_value": EARLIEST, "max_value": LATEST},
                    f"times lie from {EARLIEST.year} to {LATEST.year}: look at the unit (seconds, milliseconds)",
                    column,
                )
            )
        if place in SETS:
            allowed = list(SETS[place])
            rules.append(
                Rule(
                    "known value",
                    column,
                    "ExpectColumnValuesToBeInSet",
                    {"value_set": allowed},
                    f"use one of: {', '.join(allowed)}",
                    column,
                )
            )
        if place in RANGES:
            bounds = RANGES[place]
            low = "above 0" if bounds.get("strict_min") else f"at least {bounds['min_value']}"
            high = (
                ""
                if bounds["max_value"] == sys.float_info.max
                else f", at most {bounds['max_value']}"
            )
            rules.append(
                Rule(
                    "in range",
                    column,
                    "ExpectColumnValuesToBeBetween",
                    bounds,
                    f"{column} must be {low}{high}",
                    column,
                )
            )
        if place in PATTERNS:
            rules.append(
                Rule(
                    "pattern",
                    column,
                    "ExpectColumnValuesToMatchRegex",
                    {"regex": PATTERNS[place]},
                    f"write it as {PATTERNS[place]}",
                    column,
                )
            )
        if column in contract.references:
            table, key = contract.references[column]
            rules.append(
                _flagged(
                    "known reference", column, f"add it to {table}.{key}, or leave the row out"
                )
            )
    if contract.name == "images":
        rules.append(
            _flagged(
                "decodes",
                Images.BYTES,
                f"store whole {', '.join(FORMATS)} files with at most validate.max_pixels pixels",
            )
        )
    if contract.name == "questions":
        rules.append(
            _flagged(
                "span in review",
                Questions.START,
                "an answer has review_id, start and end with 0 <= start < end <= the length of that review's "
                "text in characters, and the review is one of the same item; no answer has none of the three",
            )
        )
    return rules


def unique_rule(contract: Table) -> Rule:
    """The rule of keys: of rows with the same key (all columns, where rows have none) one stays."""
    if contract.key:
        return _flagged(
            "unique", contract.key[0], "give each row its own key, or leave the doubles out"
        )
    first = next(iter(contract.columns))
    return _flagged("no duplicate", first, "leave out events that are in the table twice")


def schema_rules() -> list[Rule]:
    """Rules on the frame of columns: one line a column of a file, with what the contract says and what is there."""
    return [
        _flagged("present", "column", "add the column to the file"),
        _flagged("known column", "column", "leave the column out, or name it as the contract does"),
        _flagged("type", "column", "write the column with the type that the contract asks for"),
    ]


@dataclass(frozen=True)
class Limits:
    """The limits that the table rules compare with."""

    max_quarantine_share: float
    max_age_days: int


def table_rules(timed: str | None, limits: Limits) -> list[Rule]:
    """Rules on the frame of aggregates: one line with `rows_out`, `broken_share`, `out_of_order`, `age_days`.

    timed: the table's column of time, or None.
    """
    rules = [
        Rule(
            "has rows",
            "rows_out",
            "ExpectColumnValuesToBeBetween",
            {"min_value": 1},
            "bring rows: this table has none that keep the rules",
            "rows_out",
        ),
        Rule(
            "few broken rows",
            "broken_share",
            "ExpectColumnValuesToBeBetween",
            {"max_value": limits.max_quarantine_share},
            "mend the rows where they come from, or raise validate.max_quarantine_share",
            "broken_share",
        ),
        Rule(
            "in order",
            "out_of_order",
            "ExpectColumnValuesToBeBetween",
            {"max_value": 0},
            "this is a fault of the gate itself: the table that it wrote is not sorted",
            "out_of_order",
        ),
    ]
    if timed:
        rules.append(
            Rule(
                "not in the future",
                timed,
                "ExpectColumnValuesToBeBetween",
                {"min_value": 0},
                f"set the clock or the zone of {timed} right: the newest is later than now, times are UTC",
                "age_days",
            )
        )
    if timed and limits.max_age_days:
        rules.append(
            Rule(
                "fresh",
                timed,
                "ExpectColumnValuesToBeBetween",
                {"max_value": limits.max_age_days},
                "bring newer rows, or raise validate.max_age_days (0: any age)",
                "age_days",
            )
        )
    return rules


def arrow_flags(block: pa.Table, rules: Iterable[Rule], max_pixels: int) -> pa.Table:
    """`block` with the flags that are computed from its own cells; empty cells keep every such rule."""
    for rule in rules:
        if rule.judged == rule.column or rule.judged in block.column_names:
            continue
        cells = block.column(rule.column)
        if rule.name == "not blank":
            kept = pc.not_equal(pc.utf8_trim_whitespace(cells), "")
        elif rule.name == "readable text":
            kept = pc.invert(pc.match_substring_regex(cells, UNREADABLE))
        elif rule.name == "a number":
            kept = pc.is_finite(cells)
        elif rule.name == "decodes":
            kept = pa.array([decodes(cell.as_py(), max_pixels) for cell in cells], pa.bool_())
        else:
            raise Bug(f"nothing computes the flag {rule.judged!r}")
        block = block.append_column(rule.judged, pc.fill_null(kept, True))
    return block


def table_flags(table: ibis.Table, rules: Iterable[Rule]) -> ibis.Table:
    """As `arrow_flags`, where the engine has the rows. Raises `Bug` for a flag that is none of a table's work."""
    flags = {}
    for rule in rules:
        if rule.judged == rule.column or rule.judged in table.columns:
            continue
        cells = table[rule.column]
        if rule.name == "not blank":
            kept = cells.re_search(NOT_BLANK)
        elif rule.name == "readable text":
            kept = ~cells.re_search(UNREADABLE)
        elif rule.name == "a number":
            kept = ~(cells.isnan() | cells.isinf())
        else:
            raise Bug(f"nothing computes the flag {rule.judged!r} in a table")
        flags[rule.judged] = kept.fill_null(True)
    return table.mutate(**flags) if flags else table


def decodes(data: Any, max_pixels: int) -> bool | None:
    """Whether a picture's bytes decode to the last pixel, of which there are at most `max_pixels`; None for None."""
    from PIL import Image

    if data is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                if picture.width * picture.height > max_pixels:
                    return False
                picture.load()
    except (
        # What the three decoders raise on broken bytes.
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ):
        return False
    return True


def cell_text(value: Any, width: int = 200) -> str | None:
    """A cell as text for people, cut to `width` characters; None for an empty one."""
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, bytes):
        return f"{len(value):,} bytes, {value[:16].hex(' ')}"[:width]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return str(value)[:width]
