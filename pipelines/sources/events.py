"""The events of a shop's own files, in parts by time: what new or changed files say is read, and no other file again.

Three things are on the stage's shelf (`pipelines.harness.shelf`) from run to run: the rows of each batch of files as the
mapping gives them, who was found to be a program in each part, and the parts as they were put out. A part is a function
of the batches with rows in its stretch of time, and of the programs and the orders sent back, wherever these were found,
that touch it. Where one of these is new, the part is made anew from the batches' rows; all others stay.
"""

import datetime
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa

from pipelines import engine
from pipelines.engine import PART
from pipelines.harness import Run
from pipelines.harness.shelf import Shelf, file_hash, link
from pipelines.sources import EVENTS, cleaning, mapped, readers
from pipelines.sources.columns import Mapping, check_zone, contract_of
from pipelines.sources.readers import Raw
from pipelines.sources.shop import Part, ShopParams
from pipelines.tables import Interactions

ROWS = "rows.parquet"
BATCH_BYTES = 64 << 20
"""Files that came together are kept in batches of so many bytes (or one file): one that changes has its batch read."""
STEPS = ("rows", "gathered", "sold", "kept")
"""What is counted of a part: its rows as mapped, and after each step of cleaning."""


@dataclass(frozen=True)
class Batch:
    """Files that were read together. part: the place of their mapping in `shop`. path: their rows as mapped."""

    name: str
    part: int
    path: Path
    files: list[str]
    fields: list[str]
    days: dict[int, int]
    left_out: int
    returns: bool
    """Whether a purchase of a negative quantity is among the rows."""


class Events:
    """The events that `shop.interactions` names."""

    def __init__(self, run: Run, connection: Any, shop: ShopParams, spill: Path) -> None:
        self.run, self.connection, self.shop, self.spill = run, connection, shop, spill
        self.shelf = Shelf(run)
        self.until: datetime.datetime | None = None
        self.batches: list[Batch] = []
        self._names = 0

    def before(self, until: datetime.datetime) -> "Events":
        """The events as if nothing had happened from `until` on."""
        self.until = until
        return self

    def write(self, folder: Path, keys: list[str], metadata: dict[bytes, bytes]) -> int:
        """Put the parts into `folder`, each sorted by `keys` of those that there are; return the number of rows.

        Raises `BadData` for cells that can't be read, with their files and rows.
        """
        self.batches = [
            batch
            for at, part in enumerate(self.shop.parts(EVENTS))
            for batch in self._read(at, part)
        ]
        self._tell_left_out()
        parts = engine.cut(self._days())
        made_of = self._made_of(parts)
        users = self._programs(parts, made_of)
        programs = None
        if users:
            listed = pa.table({Interactions.USER: pa.array(users, pa.string())})
            programs = engine.bring(self.connection, "programs", listed)
        returned = self._returned(parts)
        touched = self._touched(parts, programs, returned)
        kinds = self._kinds()
        there = [key for key in keys if key in kinds]
        about = [
            there,
            [(name, str(kind)) for name, kind in kinds.items()],
            {key.decode(): cell.decode() for key, cell in metadata.items()},
        ]
        names = {
            part: self.shelf.name("part", part, of, touched.get(part), about)
            for part, of in made_of.items()
        }
        counts: dict[str, dict[str, int]] = {}
        for part, name in names.items():
            kept = self.shelf.find(name)
            if kept:
                link(kept.file(ROWS), folder / f"{part}.parquet")
                counts[part] = kept.note["rows"]
        missing = [part for part in names if part not in counts]
        if counts:
            self.run.say(f"{EVENTS}: {len(counts):,} of {len(names):,} parts stay as they were")
        if missing:
            made = self._make(parts, missing, programs, returned, folder, there, metadata)
            for part, rows in made.items():
                path = folder / f"{part}.parquet"
                self.shelf.put(names[part], {ROWS: path}, {"rows": rows})
            counts |= made
        self.shelf.tidy()
        self._tell(counts, len(users))
        return sum(rows["kept"] for rows in counts.values())

    # What the files say

    def _read(self, at: int, part: Part) -> Iterator[Batch]:
        """The batches of one part of `shop.interactions`: those that are on the shelf, and new ones."""
        place = f"shop.{EVENTS}[{at}]"
        check_zone(part.time.zone, place)
        way = Mapping(part, contract_of(EVENTS), place)
        way.check()
        about = part.model_dump(exclude={"files", "url"})
        group = self.shelf.name("batch", about)
        found = {} if part.format == "sql" else self._found(part)
        known: list[str] = []
        fields: dict[str, None] = {}
        for kept in self.shelf.like(group):
            files = kept.note["files"]
            if set(files) <= found.keys() and not set(files) & set(known):
                known += files
                fields |= dict.fromkeys(kept.note["fields"])
                yield self._batch(at, kept.folder.name, kept.file(ROWS), kept.note)
        new = [path for name, path in found.items() if name not in known]
        if found and not new:
            return
        raws = readers.read(
            self.connection, part, self.run.root, self.spill / f"{EVENTS}-{at}", new, list(fields)
        )
        names = {path: name for name, path in found.items()}
        for number, raw in enumerate(batch for one in raws for batch in _batches(one)):
            path = self.spill / f"{EVENTS}-{at}-{number}.parquet"
            note = self._map(way, raw, path)
            files = [names.get(source, str(source)) for source in raw.files.values()]
            note |= {"files": files, "fields": raw.columns}
            # The rows of a query have no file that tells whether they are new.
            named = files if found else file_hash(path)
            kept = self.shelf.put(f"{group}-{self.shelf.name('of', named)}", {ROWS: path}, note)
            path.unlink()
            yield self._batch(at, kept.folder.name, kept.file(ROWS), note)

    def _found(self, part: Part) -> dict[str, Path]:
        """The files of a part by what names them: their place and their content."""
        found = readers.find(part, self.run.root)
        return {f"{path}:{file_hash(path)}": path for path in found}

    def _batch(self, at: int, name: str, path: Path, note: dict[str, Any]) -> Batch:
        days = {int(day): rows for day, rows in note["days"].items()}
        return Batch(
            name, at, path, note["files"], note["fields"], days, note["left_out"], note["returns"]
        )

    def _map(self, way: Mapping, raw: Raw, path: Path) -> dict[str, Any]:
        """Write the rows of files as the mapping gives them; what is noted about them."""
        with mapped.readable(self.connection, [(way, [raw])]):
            table = way.table(self.connection, [raw])
            schema = table.schema().to_pyarrow()
            engine.write_batches(engine.stream(table), schema, path)
            left_out = way.left_out([raw])
        rows = engine.read_parquet(self.connection, path)
        valued = Interactions.VALUE in rows.columns
        days = engine.days_of(rows, Interactions.TIME)
        return {
            "days": {str(day): days[day] for day in sorted(days)},
            "left_out": left_out,
            "returns": valued and engine.count(cleaning.refunds(rows)) > 0,
        }

    # Which parts there are, and what each is made of

    def _days(self) -> Counter[int]:
        """The rows of each day, as mapped; without the days that begin at `until` or later."""
        days: Counter[int] = Counter()
        for batch in self.batches:
            days.update(batch.days)
        if self.until:
            end = self.until.timestamp() / 86_400.0
            days = Counter({day: rows for day, rows in days.items() if day < end})
        return days

    def _made_of(self, parts: dict[int, str]) -> dict[str, list[str]]:
        """The names of the batches with rows in each part; `until` where it lies in the part or before its end."""
        batches: dict[str, set[str]] = defaultdict(set)
        for batch in self.batches:
            for day in batch.days.keys() & parts.keys():
                batches[parts[day]].add(batch.name)
        found = {part: sorted(batches[part]) for part in sorted(batches)}
        if self.until:
            for part in found:
                if part >= self.until.date().isoformat()[: len(part)]:
                    found[part].append(self.until.isoformat())
        # A shop whose files have no row has one empty part.
        return found or {engine.UNDATED: []}

    def _kinds(self) -> dict[str, ibis.DataType]:
        """The columns of the table: in the order in which the mappings have them."""
        first = {batch.part: batch for batch in reversed(self.batches)}
        kinds: dict[str, ibis.DataType] = {}
        for at in sorted(first):
            kinds |= engine.read_parquet(self.connection, first[at].path).schema().items()
        return kinds

    def _programs(self, parts: dict[int, str], made_of: dict[str, list[str]]) -> list[str]:
        """The users who are programs; looked for in the parts where it is not known."""
        most = self.shop.bots_above
        if not most:
            return []
        names = {part: self.shelf.name("programs", most, part, of) for part, of in made_of.items()}
        known = {part: self.shelf.find(name) for part, name in names.items()}
        users = {user for kept in known.values() if kept for user in kept.note["users"]}
        found: dict[str, list[str]] = {part: [] for part, kept in known.items() if not kept}
        if found:
            rows = self._rows(parts, found)
            suspects = engine.keep(
                self.connection, "suspects", cleaning.programs(rows, most).select(Interactions.USER)
            )
            if engine.count(suspects):
                # Lines that are there twice count once.
                clicks = cleaning.gather(rows.semi_join(suspects, Interactions.USER))
                for row in cleaning.programs(clicks, most).to_pyarrow().to_pylist():
                    found[row[PART]].append(row[Interactions.USER])
        for part, its in found.items():
            self.shelf.put(names[part], {}, {"users": sorted(its)})
            users |= set(its)
        return sorted(users)

    def _returned(self, parts: dict[int, str]) -> ibis.Table | None:
        """The keys of the purchases that were sent back in full; None where nothing was, or no order is told."""
        columns = self._kinds()
        if Interactions.ORDER not in columns or not any(batch.returns for batch in self.batches):
            return None
        rows = self._rows(parts)
        back = cleaning.refunds(rows).select(cleaning.SALE).distinct()
        sent = engine.keep(self.connection, "sent_back", back)
        gathered = cleaning.gather(rows.semi_join(sent, cleaning.SALE))
        returned = engine.keep(self.connection, "returned", cleaning.returned(gathered))
        return returned if engine.count(returned) else None

    def _touched(
        self, parts: dict[int, str], programs: ibis.Table | None, returned: ibis.Table | None
    ) -> dict[str, str]:
        """For each part with rows of programs, or of purchases that were sent back: a hash of which."""
        found: dict[str, Any] = defaultdict(hashlib.sha256)
        for those, keys in ((programs, [Interactions.USER]), (returned, list(cleaning.SALE))):
            if those is None:
                continue
            hits = self._rows(parts).semi_join(those, keys).select(PART, *keys).distinct()
            for batch in engine.stream(hits.order_by([PART, *keys])):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    found[row[0]].update(json.dumps(row[1:]).encode())
        return {part: digest.hexdigest() for part, digest in found.items()}

    # Making parts

    def _rows(self, parts: dict[int, str], wanted: Iterable[str] | None = None) -> ibis.Table:
        """The rows of the `wanted` parts (all where None) as mapped, with the column `PART`; nothing is read yet."""
        names = None if wanted is None else set(wanted)
        chosen = {day: part for day, part in parts.items() if names is None or part in names}
        tables = []
        for at, part in enumerate(self.shop.parts(EVENTS)):
            ours = [batch for batch in self.batches if batch.part == at]
            paths = [batch.path for batch in ours if batch.days.keys() & chosen.keys()]
            table = engine.read_parquet(self.connection, paths or [ours[0].path])
            self._names += 1
            name = f"placed_{self._names}"
            table = engine.placed(self.connection, name, table, Interactions.TIME, chosen)
            if self.until:
                time = table[Interactions.TIME]
                table = table.filter(time.isnull() | (time < ibis.literal(self.until)))
            tables.append(table.distinct() if part.distinct else table)
        return mapped.together(tables)

    def _make(
        self,
        parts: dict[int, str],
        missing: list[str],
        programs: ibis.Table | None,
        returned: ibis.Table | None,
        folder: Path,
        keys: list[str],
        metadata: dict[bytes, bytes],
    ) -> dict[str, dict[str, int]]:
        """Write the missing parts; how many rows each has after each of `STEPS`."""
        rows = self._rows(parts, missing)
        counts = [_by_part(rows)]
        kept = engine.keep(self.connection, "gathered", cleaning.gather(rows))
        counts.append(_by_part(kept))
        if returned is not None or engine.count(cleaning.refunds(kept)):
            kept = engine.keep(self.connection, "sold", cleaning.without_refunds(kept, returned))
            engine.let_go(self.connection, "gathered")
        counts.append(_by_part(kept))
        if programs is not None:
            kept = kept.anti_join(programs, Interactions.USER)
        counts.append(engine.write_parts(kept, folder, missing, keys, metadata))
        return {
            part: {step: of.get(part, 0) for step, of in zip(STEPS, counts, strict=True)}
            for part in missing
        }

    # What is told

    def _tell_left_out(self) -> None:
        for at, part in enumerate(self.shop.parts(EVENTS)):
            if part.leave_out:
                count = sum(batch.left_out for batch in self.batches if batch.part == at)
                self.run.say(f"shop.{EVENTS}[{at}]: {count:,} rows left out")
                self.run.measure(f"{EVENTS}_left_out", count)

    def _tell(self, counts: dict[str, dict[str, int]], programs: int) -> None:
        rows, gathered, sold, kept = (sum(of[step] for of in counts.values()) for step in STEPS)
        told = {"repeated_lines": rows - gathered, "refunded_lines": gathered - sold}
        if self.shop.bots_above:
            told |= {"program_users": programs, "program_lines": sold - kept}
        for name, count in told.items():
            self.run.measure(name, count)
            if count:
                self.run.say(f"{EVENTS}: {count:,} {name.replace('_', ' ')}")


def _by_part(rows: ibis.Table) -> dict[str, int]:
    counted = rows.group_by(PART).agg(rows=ibis._.count()).to_pyarrow()
    return dict(zip(counted[PART].to_pylist(), counted["rows"].to_pylist(), strict=True))


def _batches(raw: Raw) -> Iterator[Raw]:
    """Files of equal columns in batches of at most `BATCH_BYTES`, or one file."""
    batch: dict[Path, Path] = {}
    size = 0
    for copy, path in raw.files.items():
        more = copy.stat().st_size
        if batch and size + more > BATCH_BYTES:
            yield replace(raw, files=batch)
            batch, size = {}, 0
        batch[copy] = path
        size += more
    yield replace(raw, files=batch)
