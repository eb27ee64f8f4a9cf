"""Cut all tables once into train, valid and test, so that no later or twin row is seen in training.

Rows with a time are cut by time, all tables at the same two moments: test is what happened at or after `test_from`,
valid the `valid_days` before it. Where fewer than `fewest` users came in so many days (or, of a shop without events,
fewer reviews), both reach further back, for a figure on a handful of users tells nothing. Rows without a time are cut
by families, rows that must stay together: a family's part is drawn by a seeded hash of its name alone, so that more or
other rows never move it. Of rows with equal content (the same picture, the same words) the earlier part keeps its own
and the later parts drop theirs; an evaluation part holds one of them. Thus nothing that is added or changed in test
can change train or valid.

| task | rows | family | content |
|---|---|---|---|
| recommending | events | time | |
| recognition | labelled pictures | the picture's bytes | the same |
| attributes | products; labelled pictures of no product | title's words; bytes | title's words and picture's bytes |
| sentiment | labelled reviews | `group_id`, else text's words; time where known | text's words |
| answers | questions | question's words | item and question's words |

The reviews that answers are read from tell by `part` which part may read them first. A question whose answer is marked
in a review of a later part is left out: nobody could have marked it yet.

A task is absent where the shop lacks one of its tables (`NEEDED`), or the labels in them that a model would learn.
Where it has events alone, the items and users that they name are its catalogue and its users; products without a
table of pictures keep their titles.
"""

import datetime
import functools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
from ibis import _

from pipelines import engine
from pipelines.harness import BadConfig, BadData, Params, Run, stage
from pipelines.harness.params import read_moment
from pipelines.tables import LANGUAGES, Images, Interactions, Products, Questions, Reviews, Users

PARTS = ("train", "valid", "test")
TASKS = ("recognition", "attributes", "sentiment", "answers")
"""Those that are cut by families where their rows have no time."""
NEEDED = {
    "recommending": ("interactions",),
    "recognition": ("images",),
    "attributes": ("products",),
    "sentiment": ("reviews",),
    "answers": ("questions", "reviews"),
}
"""Task to the tables without which it is absent."""
SUBJECT = {"interactions": Interactions.USER, "reviews": Reviews.REVIEW}
"""The table by which it is told whether a window holds enough (the first that there is), and of what."""
PURCHASE = "purchase"
"""Where there are such events, who made one is counted: lists are judged by them."""
LARGEST = 5
"""A window is not widened for more than one in so many of them."""
TABLE_NAMES = ("products", "users", "interactions", "images", "reviews", "questions")
FAMILY, CONTENT, DIGEST, TWIN, DRAW, PART, MOMENT = (
    "_family",
    "_content",
    "_digest",
    "_twin",
    "_draw",
    "_part",
    "_moment",
)
PICTURE_ROWS = 2_000
DIGITS = 12
"""Hexadecimal digits of a draw that are compared: shares are exact to 1 in 16^12."""


class SplitParams(Params):
    """What the cut needs."""

    test_from: str
    """The moment (ISO 8601, UTC) at which test begins; empty: the last `test_days` days of the data."""
    valid_days: int
    test_days: int
    fewest: int
    """Users (without events: reviews) whom valid and test hold at least, but no more than a fifth of all."""
    shares: dict[str, list[float]]
    """For each task whose rows have no time: the shares of the families that go to valid and to test."""
    attributes: list[str]
    """Columns of products that the attributes model fills in; those that the table does not have are left out."""
    picture_attribute: str
    """The attribute that an image's label gives."""
    max_eval_rows: int
    """At most so many rows in each of valid and test, of all tasks but recommending."""
    memory_gb: float


@dataclass(frozen=True)
class Cut:
    """The two moments and the last event; None where no table has a time."""

    valid_from: datetime.datetime | None
    test_from: datetime.datetime | None
    end: datetime.datetime | None


@stage
def split(run: Run, params: SplitParams) -> None:
    """Write one folder a task under `data/split/`, and `cut.json`, the moments of the cut."""
    check(params)
    paths = open_tables(run)
    if run.off:
        return
    with engine.engine(
        run.threads, params.memory_gb, run.state.spill / run.name, run.tables
    ) as con:
        tables = {name: engine.read_parquet(con, path) for name, path in paths.items()}
        cut = find_cut(tables, params)
        moments = {
            name: moment.isoformat() if moment else None for name, moment in vars(cut).items()
        }
        run.output("cut.json").write_text(json.dumps(moments, indent=1) + "\n", encoding="utf-8")
        run.rows_in = sum(engine.count(table) for table in tables.values())
        job = Job(run, params, con, cut, tables, paths)
        steps = {
            "recommending": job.recommending,
            "recognition": job.recognition,
            "attributes": job.attributes,
            "sentiment": job.sentiment,
            "answers": job.answers,
        }
        for at, (task, step) in enumerate(steps.items()):
            run.advance(at / len(steps), task)
            if task not in run.absences:
                step()


def open_tables(run: Run) -> dict[str, Path]:
    """The tables that the shop has, by name; tasks that need one of the others are declared absent."""
    found = {name: run.optional(f"validate-{name}/table.parquet") for name in TABLE_NAMES}
    for task, needed in NEEDED.items():
        lacking = [
            run.without[f"validate-{name}/table.parquet"] for name in needed if not found[name]
        ]
        if lacking:
            run.absent(task, "; ".join(dict.fromkeys(lacking)))
    if run.absences.keys() >= NEEDED.keys():
        run.absent("cut.json", "; ".join(dict.fromkeys(run.absences.values())))
    return {name: path for name, path in found.items() if path}


def check(params: SplitParams) -> None:
    """Raise `BadConfig` where the parameters leave a part empty whatever the data."""
    if set(params.shares) != set(TASKS):
        raise BadConfig(f"split.shares must name {', '.join(TASKS)} and no other")
    for task, shares in params.shares.items():
        if len(shares) != 2 or min(shares) <= 0 or sum(shares) >= 1:
            raise BadConfig(
                f"split.shares.{task} {shares}: give two, of valid and of test, above 0, that leave a rest"
            )
    if min(params.valid_days, params.test_days, params.max_eval_rows, params.fewest) < 1:
        raise BadConfig(
            "split.valid_days, split.test_days, split.fewest and split.max_eval_rows must be at least 1"
        )


def find_cut(tables: dict[str, ibis.Table], params: SplitParams) -> Cut:
    """The cut in time for all tables: given by `test_from`, else at the midnight that leaves `test_days` days or more.

    The end is that of the events, where there are any: reviews may go on after these were last looked at.
    """
    ends = {
        name: table[Interactions.TIME].max().to_pyarrow().as_py()
        for name, table in tables.items()
        if Interactions.TIME in table.columns
    }
    latest = max((end for end in ends.values() if end is not None), default=None)
    end = ends.get("interactions") or latest
    test_from = read_moment(params.test_from, "split.test_from")
    if test_from is None:
        if end is None:
            return Cut(None, None, None)
        after = _midnight(end) + datetime.timedelta(days=1)
        test_from = window_start(tables, after, params.test_days, params.fewest)
    valid_from = window_start(tables, test_from, params.valid_days, params.fewest)
    return Cut(valid_from, test_from, end)


def _midnight(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def window_start(
    tables: dict[str, ibis.Table], until: datetime.datetime, days: int, fewest: int
) -> datetime.datetime:
    """When a window begins that ends at `until`: `days` before it, or at the midnight from which `fewest` came."""
    start = until - datetime.timedelta(days=days)
    name = next((name for name in SUBJECT if name in tables), None)
    if name is None or Interactions.TIME not in tables[name].columns:
        return start
    table = tables[name]
    before = table.filter(table[Interactions.TIME] < ibis.literal(until))
    if name == "interactions":
        bought = before.filter(before[Interactions.EVENT] == PURCHASE)
        before = bought if engine.count(bought) else before
    lasts = before.group_by(SUBJECT[name]).agg(last=before[Interactions.TIME].max())
    wanted = min(fewest, engine.count(lasts) // LARGEST)
    if not wanted:
        return start
    newest = lasts.order_by(ibis.desc("last")).limit(wanted)
    reached = newest["last"].min().to_pyarrow().as_py()
    return min(start, _midnight(reached))


def words_of(text: ibis.Value) -> ibis.Value:
    """Text reduced to what makes it the same: lower case, without punctuation and spacing."""
    return text.lower().re_replace(r"[\s\p{P}\p{S}\p{Z}]+", " ").strip()


def text_or_null(table: ibis.Table, column: str) -> ibis.Value:
    """A column as text; nulls where the table does not have it, and for empty cells."""
    if column not in table.columns:
        return ibis.null("string")
    return table[column].cast("string").nullif("")


@dataclass(frozen=True)
class Job:
    """One cut of all tables that there are: the steps write the folders of the tasks."""

    run: Run
    params: SplitParams
    con: Any
    cut: Cut
    tables: dict[str, ibis.Table]
    paths: dict[str, Path]

    def note(self, *names: str) -> dict[bytes, bytes]:
        """Where the rows of these tables come from, of those that there are."""
        return engine.provenance(self.paths[name] for name in names if name in self.paths)

    def draw(self, family: ibis.Value) -> ibis.Value:
        """A number in [0, 1) for each family, as hexadecimal text, from the seed and the family's name."""
        return (ibis.literal(f"{self.run.seed}:") + family).hexdigest("md5").substr(0, DIGITS)

    def part(self, task: str, table: ibis.Table) -> ibis.Value:
        """The part of each row, by its moment where it has one, else by its family's draw."""
        valid_share, test_share = self.params.shares[task]
        test_below = _hex(test_share)
        valid_below = _hex(test_share + valid_share)
        drawn = self.draw(table[FAMILY])
        by_draw = ibis.cases(
            (drawn < test_below, "test"), (drawn < valid_below, "valid"), else_="train"
        )
        if self.cut.test_from is None or MOMENT not in table.columns:
            return by_draw
        moment = table[MOMENT]
        return ibis.cases(
            (moment >= ibis.literal(self.cut.test_from), "test"),
            (moment >= ibis.literal(self.cut.valid_from), "valid"),
            (moment.notnull(), "train"),
            else_=by_draw,
        )

    def parts(
        self, task: str, table: ibis.Table, key: str, contents: list[ibis.Value]
    ) -> dict[str, ibis.Table]:
        """Each part's rows of `table` (with `FAMILY`, perhaps `MOMENT`), without these helpers.

        contents: values of which equal ones (nulls are equal to nothing) must not be in two parts, nor twice in
        an evaluation part. Raises `BadData` where rows are there and a part gets none.
        """
        names = [f"{CONTENT}{at}" for at in range(len(contents))]
        rows = table.mutate(**dict(zip(names, contents, strict=True)))
        rows = rows.mutate(**{PART: self.part(task, rows), DRAW: self.draw(rows[key])})
        rows = engine.keep(self.con, f"split_{task}", rows)
        columns = [name for name in table.columns if name not in (FAMILY, MOMENT)]
        found: dict[str, ibis.Table] = {"train": rows.filter(_[PART] == "train")}
        for part in PARTS[1:]:
            own = rows.filter(_[PART] == part)
            earlier = [found[before] for before in PARTS[: PARTS.index(part)]]
            for name in names:
                seen = ibis.union(*(rows_before.select(name) for rows_before in earlier))
                own = own.anti_join(seen.distinct(), name)
                again = ibis.row_number().over(group_by=own[name], order_by=[own[DRAW], own[key]])
                own = own.mutate(**{TWIN: again}).filter((_[TWIN] == 0) | _[name].isnull())
                own = own.drop(TWIN)
            own = own.order_by([DRAW, key]).limit(self.params.max_eval_rows)
            found[part] = engine.keep(self.con, f"split_{task}_{part}", own)
        return {part: rows.select(columns) for part, rows in found.items()}

    def save(
        self,
        task: str,
        parts: dict[str, ibis.Table],
        order: list[str],
        note: dict[bytes, bytes],
        empty: str,
        pictures: ibis.Table | None = None,
    ) -> None:
        """Write the parts of a task, with the bytes of their pictures; where none has a row, `empty` tells why."""
        sizes = {}
        for part, rows in parts.items():
            if pictures is not None:
                rows = rows.left_join(
                    pictures.select(Images.IMAGE, Images.BYTES), Images.IMAGE
                ).drop(f"{Images.IMAGE}_right")
            sizes[part] = engine.write(
                rows,
                self.run.output(f"{task}/{part}.parquet"),
                order,
                note,
                engine.BATCH_ROWS if pictures is None else PICTURE_ROWS,
            )
        if not any(sizes.values()):
            shutil.rmtree(self.run.output(f"{task}/train.parquet").parent)
            self.run.absent(task, empty)
            return
        for part, rows in sizes.items():
            self.run.measure(f"{task}_{part}", rows)
        self.run.rows_out += sum(sizes.values())
        self.run.say(f"{task}: " + ", ".join(f"{part} {rows:,}" for part, rows in sizes.items()))
        lacking = [part for part, rows in sizes.items() if not rows]
        if lacking:
            raise BadData(
                f"{task}: no rows in {' and '.join(lacking)} ({sum(sizes.values()):,} in the others). The cut is "
                f"at {self.cut.valid_from} and {self.cut.test_from} for rows with a time, else by shares: "
                "change split.valid_days, split.test_days, split.test_from or split.shares in params.yaml, "
                "or bring more rows"
            )

    def recommending(self) -> None:
        """Events by time, with the whole catalogue and all users, and the moments of the cut.

        What has no table of its own is what the events name: items, titled by their ids, and users.
        """
        events, note = self.tables["interactions"], self.note("interactions")
        order = [Interactions.USER, Interactions.TIME, Interactions.ITEM]
        order += [name for name in events.columns if name not in order]
        moment = events[Interactions.TIME]
        if self.cut.test_from is None:
            parts = {part: events.limit(0) for part in PARTS}
        else:
            valid_from, test_from = (
                ibis.literal(self.cut.valid_from),
                ibis.literal(self.cut.test_from),
            )
            parts = {
                "train": events.filter(moment < valid_from),
                "valid": events.filter((moment >= valid_from) & (moment < test_from)),
                "test": events.filter(moment >= test_from),
            }
        self.save("recommending", parts, order, note, "there is no event")
        if "recommending" in self.run.absences:
            return
        items = events.select(Products.ITEM).distinct()
        named = {
            "products": items.mutate(**{Products.TITLE: items[Products.ITEM]}),
            "users": events.select(Users.USER).distinct(),
        }
        for name, key in (("products", Products.ITEM), ("users", Users.USER)):
            engine.write(
                self.tables.get(name, named[name]),
                self.run.output(f"recommending/{name}.parquet"),
                [key],
                self.note(name if name in self.tables else "interactions"),
            )
        shutil.copyfile(self.run.output("cut.json"), self.run.output("recommending/cut.json"))

    @functools.cached_property
    def pictures(self) -> ibis.Table:
        """Keys, labels and digests of all pictures; the bytes are read once."""
        images = self.tables["images"]
        return engine.keep(
            self.con,
            "split_pictures",
            images.select(
                Images.IMAGE,
                label=text_or_null(images, Images.LABEL),
                digest=engine.md5(images[Images.BYTES]),
            ),
        )

    def recognition(self) -> None:
        """Labelled pictures by their bytes."""
        labelled = self.pictures.filter(_.label.notnull()).select(
            Images.IMAGE, Images.LABEL, **{FAMILY: _.digest}
        )
        parts = self.parts("recognition", labelled, Images.IMAGE, [labelled[FAMILY]])
        empty = "no picture has a label"
        images, note = self.tables["images"], self.note("images")
        self.save("recognition", parts, [Images.IMAGE], note, empty, images)

    def attributes(self) -> None:
        """Products by title, and labelled pictures that no product shows by their bytes."""
        products, images = self.tables["products"], self.tables.get("images")
        by_picture = self.params.picture_attribute if images is not None else ""
        for name in self.params.attributes:
            if name not in products.columns and name != by_picture:
                has = ", ".join(products.columns)
                self.run.miss(f"products.{name}", f"no such column; products has: {has}")
        wanted = dict.fromkeys([*self.params.attributes, *([by_picture] if by_picture else [])])
        names = [name for name in wanted if name in products.columns or name == by_picture]
        empty = f"no product has one of {', '.join(wanted)}: name other columns of it in split.attributes"
        if not names:
            self.run.absent("attributes", empty)
            return
        shown = products.select(
            Products.ITEM,
            Products.TITLE,
            **{Products.IMAGE: text_or_null(products, Products.IMAGE)},
            **{name: text_or_null(products, name) for name in names},
        ).mutate(**{FAMILY: words_of(_[Products.TITLE])})
        if images is None:
            rows = shown.mutate(**{DIGEST: ibis.null("string"), Images.BYTES: ibis.null("binary")})
        else:
            rows = self.with_pictures(shown, names, by_picture)
        some = ibis.or_(*(rows[name].notnull() for name in names))
        rows = rows.filter(some)
        title = words_of(rows[Products.TITLE]).nullif("")
        parts = self.parts("attributes", rows, Products.ITEM, [title, rows[DIGEST]])
        parts = {part: found.drop(DIGEST) for part, found in parts.items()}
        note = self.note("products", "images")
        self.save("attributes", parts, [Products.ITEM], note, empty, images)

    def with_pictures(self, shown: ibis.Table, names: list[str], by_picture: str) -> ibis.Table:
        """Products with the digest of their picture, and the labelled pictures that no product shows."""
        pictures = self.pictures
        digests = pictures.select(**{"_key": pictures[Images.IMAGE], DIGEST: pictures.digest})
        shown = shown.left_join(digests, shown[Products.IMAGE] == digests["_key"]).drop("_key")
        if not by_picture:
            return shown
        of_products = shown.select(**{Images.IMAGE: shown[Products.IMAGE]}).distinct()
        alone = pictures.filter(pictures.label.notnull()).anti_join(of_products, Images.IMAGE)
        empty = {name: ibis.null("string") for name in names}
        labelled = alone.select(
            **{
                Products.ITEM: alone[Images.IMAGE],
                Products.TITLE: ibis.literal(""),
                Products.IMAGE: alone[Images.IMAGE],
                **empty,
                by_picture: alone.label,
                DIGEST: alone.digest,
                FAMILY: alone.digest,
            }
        )
        return ibis.union(shown, labelled.select(shown.columns))

    def sentiment(self) -> None:
        """Labelled reviews in the languages that the model reads."""
        reviews, note = self.tables["reviews"], self.note("reviews")
        words = words_of(reviews[Reviews.TEXT])
        rows = reviews.select(
            Reviews.REVIEW,
            Reviews.TEXT,
            **{
                Reviews.LANGUAGE: text_or_null(reviews, Reviews.LANGUAGE),
                Reviews.LABEL: text_or_null(reviews, Reviews.LABEL),
                FAMILY: ibis.coalesce(text_or_null(reviews, Reviews.GROUP), words),
            },
            **({MOMENT: reviews[Reviews.TIME]} if Reviews.TIME in reviews.columns else {}),
            **{
                name: reviews[name]
                for name in (Reviews.RATING, Reviews.TIME)
                if name in reviews.columns
            },
        )
        rows = rows.filter(_[Reviews.LABEL].notnull() & _[Reviews.LANGUAGE].isin(LANGUAGES))
        parts = self.parts("sentiment", rows, Reviews.REVIEW, [words_of(rows[Reviews.TEXT])])
        empty = f"no review in one of {', '.join(LANGUAGES)} has a label"
        self.save("sentiment", parts, [Reviews.REVIEW], note, empty)

    def answers(self) -> None:
        """Questions by their words, with the whole reviews of the items that are asked about.

        A review's `part` is the first that may read it: not before it was written, nor before its item is asked
        about. Training reads those of train, validation those of train and valid, test all.
        """
        questions, reviews = self.tables["questions"], self.tables["reviews"]
        rows = questions.mutate(**{FAMILY: words_of(questions[Questions.TEXT])})
        content = rows[Questions.ITEM] + ibis.literal(" ") + rows[FAMILY]
        parts = self.answered_in_time(self.parts("answers", rows, Questions.QUESTION, [content]))
        note, empty = self.note("questions"), "there is no question"
        self.save("answers", parts, [Questions.QUESTION], note, empty)
        if "answers" in self.run.absences:
            return
        whole = reviews
        if Reviews.GROUP in reviews.columns:
            of_another = reviews.filter(_[Reviews.GROUP] != _[Reviews.REVIEW])
            names = reviews.select(**{Reviews.GROUP: reviews[Reviews.REVIEW]})
            sentences = of_another.semi_join(names, Reviews.GROUP)
            whole = reviews.anti_join(sentences.select(Reviews.REVIEW), Reviews.REVIEW)
        first = ibis.literal(0)
        if Reviews.TIME in whole.columns and self.cut.test_from is not None:
            first = ibis.cases(
                (whole[Reviews.TIME] >= ibis.literal(self.cut.test_from), 2),
                (whole[Reviews.TIME] >= ibis.literal(self.cut.valid_from), 1),
                else_=0,
            )
        if Reviews.ITEM in whole.columns:
            asked = ibis.union(
                *(
                    parts[part].select(Questions.ITEM, _first=ibis.literal(at))
                    for at, part in enumerate(PARTS)
                )
            )
            asked = asked.group_by(Questions.ITEM).agg(_first=_["_first"].min())
            whole = whole.mutate(_written=first).inner_join(asked, Reviews.ITEM)
            first = ibis.greatest(whole["_written"], whole["_first"])
        named = [(first == at, part) for at, part in enumerate(PARTS[:2])]
        whole = whole.mutate(part=ibis.cases(*named, else_=PARTS[2]))
        engine.write(
            whole.select(*reviews.columns, "part"),
            self.run.output("answers/reviews.parquet"),
            [Reviews.REVIEW],
            self.note("reviews"),
        )

    def answered_in_time(self, parts: dict[str, ibis.Table]) -> dict[str, ibis.Table]:
        """The parts of the questions without those that are answered by a review of a later part."""
        reviews, found = self.tables["reviews"], dict(parts)
        if (
            self.cut.test_from is None
            or Reviews.TIME not in reviews.columns
            or Questions.REVIEW not in parts["train"].columns
        ):
            return found
        for part, until in (("train", self.cut.valid_from), ("valid", self.cut.test_from)):
            late = reviews.filter(reviews[Reviews.TIME] >= ibis.literal(until)).select(
                **{Questions.REVIEW: reviews[Reviews.REVIEW]}
            )
            found[part] = parts[part].anti_join(late, Questions.REVIEW)
            lost = engine.count(parts[part]) - engine.count(found[part])
            if lost:
                self.run.say(f"answers: {lost} questions of {part} are answered later; left out")
        return found


def _hex(share: float) -> str:
    """The hexadecimal text below which a share of all draws lies."""
    return f"{int(share * 16**DIGITS):0{DIGITS}x}"


if __name__ == "__main__":
    split.main()
