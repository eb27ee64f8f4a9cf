"""Ibis' expressions in Spark's SQL, where Ibis' own compiler says something else than DuckDB would do.

Each method is of one of Ibis' operations; what it says is held against DuckDB by `tests/data/test_engines.py`.
"""

import math
import re
import string
from collections.abc import Callable
from typing import Any

import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.pyspark import PySparkCompiler

from pipelines.harness import BadConfig

SPACE = r"\t\n\f\r "
"""What `\\s` means to DuckDB: to Java it is one character more."""
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
NO_NUMBERS = ("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", "nan")
MOMENT = r"^\s*\d{1,6}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{1,2}\S*)?\s*$"
"""Texts that are moments to both; Spark reads a bare year as one too."""
CODES = {
    "Y": (r"(\d{4})", "year"),
    "y": (r"(\d{2})", "short"),
    "m": (r"(\d{1,2})", "month"),
    "d": (r"(\d{1,2})", "day"),
    "b": (r"([A-Za-z]{3})", "name"),
    "B": (r"([A-Za-z]{3,9})", "name"),
    "H": (r"(\d{1,2})", "hour"),
    "I": (r"(\d{1,2})", "half"),
    "M": (r"(\d{1,2})", "minute"),
    "S": (r"(\d{1,2})", "second"),
    "f": (r"(\d{1,6})", "fraction"),
    "p": (r"([AaPp][Mm])", "noon"),
}
"""What the codes of a format of moments stand for, and which part of one that is."""
TIGHT = {code: way.replace("{1,2}", "{2}") for code, (way, _) in CODES.items()}
"""The same where digits follow without anything between."""
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)


class SparkWords(PySparkCompiler):  # type: ignore[misc] # ibis has no types
    """The compiler of `on_spark`."""

    __slots__ = ()

    # ibis fills in the arguments of these by name, one for each part of the operation.

    def visit_NonNullLiteral(self, op: Any, *, value: Any, dtype: Any) -> Any:
        """Numbers with a point are decimals to Spark, unless told."""
        if dtype.is_floating() and math.isfinite(value):
            return self.cast(sge.convert(repr(float(value))), dtype)
        if dtype.is_floating():
            return None
        return super().visit_NonNullLiteral(op, value=value, dtype=dtype)

    def visit_Field(self, op: Any, *, rel: Any, name: str) -> Any:
        """As of any engine: Ibis asks here whether no number is to be null."""
        return super(PySparkCompiler, self).visit_Field(op, rel=rel, name=name)

    def visit_IsNull(self, op: Any, *, arg: Any) -> Any:
        """Not a number is no null."""
        return arg.is_(sge.null())

    def visit_NotNull(self, op: Any, *, arg: Any) -> Any:
        """As `visit_IsNull`."""
        return arg.is_(sge.null()).not_()

    def visit_IsInf(self, op: Any, *, arg: Any) -> Any:
        """Ibis' own compares here and now, and nothing is ever infinite."""
        return sge.paren(arg.eq(self.POS_INF).or_(arg.eq(self.NEG_INF)))

    def visit_Strip(self, op: Any, *, arg: Any) -> Any:
        """White space at the ends, not the space alone."""
        return self.f.anon.btrim(arg, sge.convert(string.whitespace))

    def visit_Lowercase(self, op: Any, *, arg: Any) -> Any:
        """Letter by letter: Java has two that depend on their place or become two."""
        return self.f.lower(self.f.anon.translate(arg, sge.convert("İΣ"), sge.convert("iσ")))

    def visit_RegexSearch(self, op: Any, *, arg: Any, pattern: Any) -> Any:
        """Anywhere in the text."""
        return self.f.anon.regexp_like(arg, _java(pattern))

    def visit_RegexExtract(self, op: Any, *, arg: Any, pattern: Any, index: Any) -> Any:
        """Empty where the pattern is not found."""
        return self.f.anon.regexp_extract(arg, _java(pattern), index)

    def visit_RegexReplace(self, op: Any, *, arg: Any, pattern: Any, replacement: Any) -> Any:
        """All places; groups are `$1` in the replacement."""
        words = replacement.this.replace("$", r"\$")
        words = re.sub(r"\\(\d)", r"$\1", words)
        return self.f.anon.regexp_replace(arg, _java(pattern), sge.convert(words))

    def visit_ExtractEpochSeconds(self, op: Any, *, arg: Any) -> Any:
        """With their fraction."""
        micros = self.f.anon.unix_micros(self.cast(arg, dt.Timestamp("UTC")))
        return sge.paren(micros / self.cast(sge.convert(1_000_000), dt.float64))

    def visit_Round(self, op: Any, *, arg: Any, digits: Any) -> Any:
        """Away from zero in the numbers as they are, not in their decimal form."""
        if not op.arg.dtype.is_floating():
            return super().visit_Round(op, arg=arg, digits=digits)
        places = int(digits.this) if digits is not None else 0
        scale = self.cast(sge.convert(10**places), dt.float64)
        rounded = self.f.anon.round(self.f.abs(arg) * scale, 0) / scale
        return self.cast(
            self.if_(
                arg < sge.convert(0), -rounded, self.if_(arg.eq(sge.convert(0)), arg, rounded)
            ),
            op.dtype,
        )

    def visit_Divide(self, op: Any, *, left: Any, right: Any) -> Any:
        """By zero: infinite, or no number, and no failure."""
        left, right = self.cast(left, dt.float64), self.cast(right, dt.float64)
        if isinstance(op.right, ops.Literal) and op.right.value:
            return sge.paren(left) / sge.paren(right)
        by_zero = sge.Case(
            ifs=[
                self.if_(left > sge.convert(0), self.POS_INF),
                self.if_(left < sge.convert(0), self.NEG_INF),
                self.if_(left.eq(sge.convert(0)), self.NAN),
            ]
        )
        return self.if_(right.eq(sge.convert(0)), by_zero, sge.paren(left) / sge.paren(right))

    def visit_Cast(self, op: Any, *, arg: Any, to: Any) -> Any:
        """Texts that are numbers or moments to Spark alone can't be read; numbers are written as DuckDB writes them."""
        if op.arg.dtype.is_floating() and to.is_string():
            return self._written(arg)
        return self.cast(self._readable(op, arg, to), to)

    def visit_TryCast(self, op: Any, *, arg: Any, to: Any) -> Any:
        """As `visit_Cast`; null for what can't be read."""
        return self._try_cast(self._readable(op, arg, to), to)

    def _try_cast(self, arg: Any, to: Any) -> Any:
        return sge.TryCast(this=arg, to=self.type_mapper.from_ibis(to), safe=True)

    def _readable(self, op: Any, arg: Any, to: Any) -> Any:
        found = op.arg.dtype
        if found.is_floating() and to.is_integer():
            return self.f.anon.rint(arg)
        if found.is_string() and to.is_floating():
            word = self.f.lower(self.f.anon.btrim(arg, sge.convert(string.whitespace)))
            good = self.f.anon.regexp_like(arg, sge.convert(NUMBER)).or_(word.isin(*NO_NUMBERS))
        elif found.is_string() and to.is_timestamp():
            good = self.f.anon.regexp_like(arg, sge.convert(MOMENT))
        else:
            return arg
        return self.if_(good, arg, self.f.concat(sge.convert("?"), arg))

    def _written(self, number: Any) -> Any:
        """A number as text: in full from 0.0001 to below 1e16, else with an exponent of two digits or more."""
        text = self.cast(number, dt.string)
        size = self.f.abs(number)
        full = self.cast(self.cast(text, dt.Decimal(38, 22)), dt.string)
        full = self.f.anon.regexp_replace(full, sge.convert(r"(\.\d+?)0+$"), sge.convert("$1"))
        short = self.f.lower(
            self.f.anon.regexp_replace(text, sge.convert(r"\.0E"), sge.convert("E"))
        )
        for found, become in (
            (r"e(\d)", "e+$1"),
            (r"e([+-])(\d)$", "e${1}0$2"),
            ("infinity", "inf"),
        ):
            become = become.replace("${1}", "$1")
            short = self.f.anon.regexp_replace(short, sge.convert(found), sge.convert(become))
        plain = sge.paren(size >= self.cast(sge.convert("1e-4"), dt.float64)).and_(
            size < self.cast(sge.convert("1e16"), dt.float64)
        )
        exact = self.f.anon.instr(text, sge.convert("E")).eq(sge.convert(0))
        return self.if_(plain.and_(exact.not_()), full, short)

    def visit_ScalarUDF(self, op: Any, **kw: Any) -> Any:
        """The functions of `pipelines.sources.functions`, which have the names of DuckDB's."""
        form = FORMS.get(op.__func_name__)
        return form(self, *kw.values()) if form else super().visit_ScalarUDF(op, **kw)

    def strptime(self, text: Any, formats: Any, strict: bool) -> Any:
        """The first format that fits, read part by part."""
        read = [self._moment(text, form.this) for form in formats.expressions]
        found = self.f.coalesce(*read)
        if not strict:
            return found
        words = self.f.concat(sge.convert("no format fits "), text)
        failing = self.cast(self.f.anon.raise_error(words), dt.timestamp)
        return self.if_(text.is_(sge.null()), sge.null(), self.f.coalesce(found, failing))

    def _moment(self, text: Any, form: str) -> Any:
        pattern, names = _pattern(form)
        parts = {
            name: self.f.anon.regexp_extract(text, sge.convert(pattern), sge.convert(at))
            for at, name in enumerate(names, 1)
        }

        def number(name: str, other: int) -> Any:
            if name not in parts:
                return sge.convert(other)
            return self._try_cast(parts[name], dt.int32)

        year = number("year", 1900)
        if "short" in parts:
            short = number("short", 0)
            year = self.if_(short < sge.convert(69), short + 2000, short + 1900)
        month = number("month", 1)
        if "name" in parts:
            said = self.f.lower(parts["name"])
            fits = [
                (said.isin(name, name[:3]), sge.convert(at)) for at, name in enumerate(MONTHS, 1)
            ]
            month = sge.Case(ifs=[self.if_(when, at) for when, at in fits])
        hour = number("hour", 0)
        if "half" in parts:
            half = number("half", 12)
            late = self.f.lower(parts["noon"]).eq(sge.convert("pm")) if "noon" in parts else None
            noon = self.if_(late, sge.convert(12), sge.convert(0)) if late is not None else 0
            valid = half.between(sge.convert(1), sge.convert(12))
            hour = self.if_(valid, sge.paren(half % 12) + noon, sge.null())
        second = self.cast(number("second", 0), dt.Decimal(16, 6))
        if "fraction" in parts:
            digits = self.f.anon.rpad(parts["fraction"], sge.convert(6), sge.convert("0"))
            micros = self._try_cast(digits, dt.Decimal(16, 6))
            second = self.cast(second + micros / sge.convert(1_000_000), dt.Decimal(16, 6))
        made = self.f.anon.try_make_timestamp_ntz(
            year, month, number("day", 1), hour, number("minute", 0), second
        )
        return self.if_(self.f.anon.regexp_like(text, sge.convert(pattern)), made, sge.null())

    def in_zone(self, zone: Any, clock: Any) -> Any:
        """Of an hour that a clock shows twice the second, which Spark's own function does not take."""
        moment = dt.Timestamp("UTC")
        plain = self.cast(clock, moment)
        first = self.f.anon.to_utc_timestamp(plain, zone)
        later = plain + sge.Interval(this=sge.convert("3"), unit=sge.Var(this="HOUR"))
        offset = self.f.anon.unix_micros(later) - self.f.anon.unix_micros(
            self.f.anon.to_utc_timestamp(later, zone)
        )
        second = self.f.anon.timestamp_micros(
            sge.paren(self.f.anon.unix_micros(plain)) - sge.paren(offset)
        )
        shown = self.f.anon.from_utc_timestamp(second, zone)
        return self.if_(shown.eq(plain), second, first)


def _java(pattern: Any) -> Any:
    """A pattern with the meaning that it has for DuckDB."""
    said, inside, at = "", False, 0
    while at < len(pattern.this):
        step = 2 if pattern.this[at] == "\\" else 1
        word = pattern.this[at : at + step]
        if word == r"\s":
            word = SPACE if inside else f"[{SPACE}]"
        inside = word == "[" or inside and word != "]"
        said, at = said + word, at + step
    return sge.convert(said)


def _pattern(form: str) -> tuple[str, list[str]]:
    """A format of moments as a pattern, and the names of its groups. Raises `BadConfig` for codes that are not known."""
    names: list[str] = []
    found, at, before = "", 0, False
    while at < len(form):
        if form[at] != "%":
            found += re.escape(form[at])
            at, before = at + 1, False
            continue
        code, rest = form[at + 1 : at + 2], form[at + 2 :]
        if code == "%":
            found += "%"
        elif code in CODES:
            pattern, name = CODES[code]
            # Where digits follow without anything between, each part has all of its own.
            found += TIGHT[code] if before or rest.startswith("%") else pattern
            names.append(name)
        else:
            raise BadConfig(
                f"params.yaml: the format of times {form!r}: on Spark no %{code} is known, but "
                f"{', '.join(f'%{one}' for one in CODES)}: use these, or set tables.engine to duckdb"
            )
        at, before = at + 2, True
    return f"^{found}$", names


def _entries(words: SparkWords, text: Any, structure: Any) -> Any:
    return words.f.anon.from_json(text, sge.convert("array<string>"))


FORMS: dict[str, Callable[..., Any]] = {
    "strptime": lambda words, text, formats: words.strptime(text, formats, True),
    "try_strptime": lambda words, text, formats: words.strptime(text, formats, False),
    "timezone": lambda words, zone, clock: words.in_zone(zone, clock),
    "make_timestamp": lambda words, micros: words.cast(
        words.f.anon.timestamp_micros(micros), dt.timestamp
    ),
    "error": lambda words, text: words.cast(words.f.anon.raise_error(text), dt.string),
    "from_json": _entries,
    "json_extract_string": lambda words, text, path: words.f.anon.get_json_object(
        text, sge.convert(re.sub(r'\."([^"]*)"', r"['\1']", path.this))
    ),
}
"""Functions by DuckDB's names."""
