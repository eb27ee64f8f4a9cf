"""Look at the shop's data and the champion's lists, as every day: `python -m pipelines.monitor`.

Freshness, volume, drift of each column, of the lists' scores and of what the sentiment champion says of reviews, the
champion's quality against what users did since, coverage. The report goes to `.vitrine/monitor/` (JSON and a page), its figures to an MLflow run. A finding past its
limit is an alarm; some alarms ask for training. With `--tell`, as the daily DAG calls it, an alarm that lasts is told, and
asks for training, once in `monitor.repeat_days`. The exit status tells whether a report was made, not what it says.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.kinds import load_model
from models.metrics import interval, ndcg, paired_interval
from models.recommenders.events import decay
from pipelines import run_page
from pipelines.harness import BadConfig, MissingResource, Params, VitrineError
from pipelines.harness.absent import lacking, made
from pipelines.harness.params import read_params, section
from pipelines.harness.stage import peak_memory_mb
from pipelines.harness.state import State
from pipelines.harness.tracking import Tracker
from pipelines.lists import archive as list_archive
from pipelines.lists.archive import Kept
from pipelines.monitoring import drift
from pipelines.promotion.registry import CHAMPION, Registry
from pipelines.report import TEMPLATES, environment
from pipelines.tables import TABLES, Interactions, Products, Reviews, Users

NAME = "monitor"
LOOK, TRAIN = "look", "train"
"""What an alarm asks for: a person's eyes, or training."""
WEEK = 7
ROUNDS = 10_000
"""Resamples where a bound lies far out."""
REFERENCES = {
    "products": "split/recommending/products.parquet",
    "users": "split/recommending/users.parquet",
}
"""Tables without a time: what the models were trained on, held against today's rows."""
REVIEWS = "validate-reviews/table.parquet"
SENTIMENT = "sentiment"
NAMES = {Users.USER, Interactions.ORDER, Reviews.REVIEW, Reviews.GROUP, "bytes"}
"""Columns that name a row or hold a file: nothing to compare."""
TEXTS = {Products.TITLE, Products.DESCRIPTION, Reviews.TEXT}
"""Columns compared by their length in characters."""


class MonitorParams(Params):
    """window_days: what is looked at, whole weeks; reference_days: what came before it, whole weeks.

    false_alarm: chance that a look at unchanged data raises any alarm of drift or volume. min_psi,
    min_volume_change: smaller differences are none. max_age_days: of the newest event, 0 for any. truth_days: after
    lists were made, until they are judged. min_users: fewer are not judged. told_reviews: on each side, that the
    sentiment champion is asked about. min_covered: share of the users who came
    that must have had a list. max_unknown: share of events with items that no model knows. retrain_days: of events
    that the models have not seen. repeat_days: until an alarm that lasts is told again. half_life_days: of the popularity that the champion is held against. keep: looks
    shown on the page.
    """

    window_days: int
    reference_days: int
    false_alarm: float
    min_psi: float
    min_volume_change: float
    max_age_days: int
    truth_days: int
    min_users: int
    told_reviews: int
    min_covered: float
    max_unknown: float
    retrain_days: float
    repeat_days: float
    half_life_days: float
    keep: int


@dataclass(frozen=True)
class Finding:
    """One figure of a look. check: its kind; what: of what; limit: in words; asks: of whom, where it is an alarm.

    why: what stands instead of a value that could not be had.
    """

    check: str
    what: str
    value: float | None
    limit: str
    alarm: bool = False
    asks: str = LOOK
    why: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What makes it the same finding on another day: the lists that are judged change, the judgement is one."""
        return self.check if self.check == "quality" else f"{self.check}, {self.what}"

    def __str__(self) -> str:
        found = self.why if self.value is None else self.value
        return f"{self.check}, {self.what}: {found} (limit {self.limit})"


@dataclass(frozen=True)
class Shop:
    """What is looked at. events: all of today's. data: the folder of the stages' outputs. now: UTC.

    champion: the model of a capability, None where it has no champion; raises `MissingResource` for one that can't be read.
    """

    data: Path
    events: pd.DataFrame
    now: pd.Timestamp
    champion: Callable[[str], Any | None] = lambda capability: None

    @property
    def newest(self) -> pd.Timestamp:
        return self.events[Interactions.TIME].max()

    def spans(self, rows: pd.DataFrame, params: MonitorParams) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows of the reference and those of the window, which ends with the newest event."""
        window = self.newest - pd.Timedelta(days=params.window_days)
        start = window - pd.Timedelta(days=params.reference_days)
        times = rows[Interactions.TIME]
        return rows[(times > start) & (times <= window)], rows[times > window]

    def table(self, name: str) -> pd.DataFrame | None:
        """The rows of a table below `data/`; None where the shop has it not."""
        path = self.data / name
        return pq.read_table(path).to_pandas() if lacking(path) is None else None


def look(shop: Shop, archive: list[Kept], params: MonitorParams, seed: int) -> list[Finding]:
    """All findings of one look."""
    reviews = shop.table(REVIEWS)
    comparisons = list(_samples(shop, reviews, archive, params, seed))
    unreadable = []
    try:
        comparisons += sentiments(shop, reviews, params, seed)
    except MissingResource as error:
        why = str(error)
        unreadable = [Finding("champion", SENTIMENT, None, "can be read", True, why=why)]
    level = params.false_alarm / (len(comparisons) + 2)
    found = [freshness(shop, params), volume(shop, params, level), *unreadable]
    for what, before, now in comparisons:
        found.append(_drift(what, drift.shift(before, now), params, level))
    return [
        *found,
        *quality(shop, archive, params, level, seed),
        *coverage(shop, archive, params),
        unseen(shop, params),
    ]


def freshness(shop: Shop, params: MonitorParams) -> Finding:
    """Age of the newest event."""
    days = (shop.now - shop.newest).total_seconds() / 86400
    limit = f"at most {params.max_age_days} days" if params.max_age_days else "any age"
    late = bool(params.max_age_days) and days > params.max_age_days
    return Finding("freshness", "days since the newest event", round(days, 3), limit, late)


def volume(shop: Shop, params: MonitorParams, level: float) -> Finding:
    """Events a week, the window's against the reference's."""
    weeks = []
    start = shop.newest - pd.Timedelta(days=params.window_days + params.reference_days)
    first = shop.events[Interactions.TIME].min()
    for frame, days, begin in zip(
        shop.spans(shop.events, params),
        (params.reference_days, params.window_days),
        (start, start + pd.Timedelta(days=params.reference_days)),
        strict=True,
    ):
        week = ((frame[Interactions.TIME] - begin).dt.total_seconds() / (86400 * WEEK)).astype(int)
        counts = np.bincount(week.clip(0, days // WEEK - 1), minlength=days // WEEK)
        begun = [begin + pd.Timedelta(days=WEEK * at) >= first for at in range(len(counts))]
        weeks.append(counts[np.asarray(begun, dtype=bool)].astype(float))
    change, p = drift.volume(*weeks)
    alarm = p < level and abs(change) >= params.min_volume_change
    limit = f"±{params.min_volume_change:.0%}, p < {level:.2g}"
    more = {"p": p, "weeks": [one.tolist() for one in weeks]}
    return Finding("volume", "events a week", round(change, 4), limit, alarm, more=more)


def _samples(
    shop: Shop,
    reviews: pd.DataFrame | None,
    archive: list[Kept],
    params: MonitorParams,
    seed: int,
) -> Iterator[tuple[str, pd.Series, pd.Series]]:
    """What is compared: (name, before, now), with independent rows."""
    yield from _timed("interactions", shop, shop.events, params, seed)
    for name, trained in REFERENCES.items():
        before, now = shop.table(trained), shop.table(f"validate-{name}/table.parquet")
        if before is not None and now is not None:
            yield from _columns(name, before, now)
    if reviews is not None and Reviews.TIME in reviews:
        yield from _timed("reviews", shop, reviews, params, seed)
    pair = _latest_pair(archive)
    if pair:
        scores = [
            pq.read_table(one.lists, columns=["user_id", "score"]).to_pandas() for one in pair
        ]
        means = [frame.groupby("user_id")["score"].mean() for frame in scores]
        yield ("scores.mean of a list", *means)


def _timed(
    name: str, shop: Shop, rows: pd.DataFrame, params: MonitorParams, seed: int
) -> Iterator[tuple[str, pd.Series, pd.Series]]:
    """A table with times: its window against its reference, one row a user in each."""
    spans = _independent(shop.spans(rows, params), seed)
    yield from _columns(name, *spans)
    for what, part in (("weekday", "day_of_week"), ("hour", "hour")):
        times = [getattr(frame[Interactions.TIME].dt, part) for frame in spans]
        yield f"{name}.{what}", times[0].astype(str), times[1].astype(str)


def _independent(
    spans: tuple[pd.DataFrame, pd.DataFrame], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a user of each, where rows have users."""
    if Interactions.USER not in spans[0]:
        return spans
    before, now = (
        frame.iloc[drift.one_a_user(frame[Interactions.USER].to_numpy(), seed + at)]
        for at, frame in enumerate(spans)
    )
    return before, now


def sentiments(
    shop: Shop, reviews: pd.DataFrame | None, params: MonitorParams, seed: int
) -> list[tuple[str, pd.Series, pd.Series]]:
    """What the sentiment champion says of `reviews` of the window, against what it says of those of the reference.

    Of at most `told_reviews` on each side: reading takes seconds a hundred. Nothing where there is no champion, or too
    few reviews with a time. Raises `MissingResource` where the champion can't be read.
    """
    asked = [Reviews.TEXT, Reviews.LANGUAGE]
    if reviews is None or not {*asked, Reviews.TIME} <= set(reviews):
        return []
    spans = _independent(shop.spans(reviews, params), seed)
    if min(map(len, spans)) < params.min_users:
        return []
    model = shop.champion(SENTIMENT)
    if model is None:
        return []
    told = [
        model.predict(
            frame.sample(min(len(frame), params.told_reviews), random_state=seed)[
                asked
            ].reset_index(drop=True)
        )
        for frame in spans
    ]
    return [
        (f"scores.{SENTIMENT}, {column}", told[0][column], told[1][column])
        for column in ("label", "confidence")
    ]


def _columns(
    name: str, before: pd.DataFrame, now: pd.DataFrame
) -> Iterator[tuple[str, pd.Series, pd.Series]]:
    keys = {*TABLES[name].key, *NAMES}
    for column in before.columns.intersection(now.columns):
        one, other = before[column], now[column]
        if column in keys or isinstance(one.dtype, pd.DatetimeTZDtype):
            continue
        if column in TEXTS:
            one, other = one.str.len(), other.str.len()
        yield f"{name}.{column}", one, other


def _latest_pair(archive: list[Kept]) -> tuple[Kept, Kept] | None:
    """The newest lists and those before them of the same champion: scores of two models are not comparable."""
    if not archive:
        return None
    same = [one for one in archive if one.facts.champion == archive[-1].facts.champion]
    return (same[-2], same[-1]) if len(same) > 1 else None


def _drift(what: str, found: drift.Shift | None, params: MonitorParams, level: float) -> Finding:
    limit = f"PSI {params.min_psi:.2f}, p < {level:.2g}"
    if found is None or min(found.n) < params.min_users:
        return Finding("drift", what, None, limit, why="too few rows to compare")
    alarm = found.p < level and found.psi >= params.min_psi
    return Finding("drift", what, round(found.psi, 5), limit, alarm, TRAIN, more=asdict(found))


def quality(
    shop: Shop, archive: list[Kept], params: MonitorParams, level: float, seed: int
) -> Iterator[Finding]:
    """NDCG of lists against what their users did in the days after, and against what was popular then.

    The newest lists that are old enough may raise an alarm, by a chance of `level` where they are as good; those before them are shown. Lists that were made with
    hindsight are left out.
    """
    limit = f"not below popularity, p < {level:.2g}"
    due = shop.newest - pd.Timedelta(days=params.truth_days)
    judged = [one for one in archive if one.facts.moment <= due and not one.facts.hindsight]
    if not judged:
        why = f"no list is {params.truth_days} days older than the newest event yet"
        yield Finding("quality", "lists against what users did since", None, limit, why=why)
    for at, kept in enumerate(reversed(judged[-params.keep :])):
        what = f"lists of {kept.facts.moment:%Y-%m-%d} ({kept.facts.champion[:8]})"
        found = delayed_truth(shop.events, kept, params)
        if found is None or len(found[0]) < params.min_users:
            why = f"fewer than {params.min_users} users came since"
            yield Finding("quality", what, None, limit, why=why)
            continue
        ours, popular = found
        gain = paired_interval(ours, popular, seed)
        own = interval(ours, seed)
        more = {"low": own.low, "high": own.high, "popularity": float(popular.mean())}
        more |= {"gain_low": gain.low, "gain_high": gain.high, "users": len(ours)}
        alarm = (
            at == 0
            and gain.high < 0
            and paired_interval(ours, popular, seed, 1 - 2 * level, ROUNDS).high < 0
        )
        yield Finding("quality", what, round(own.mean, 5), limit, alarm, TRAIN, more=more)


def delayed_truth(
    events: pd.DataFrame, kept: Kept, params: MonitorParams
) -> tuple[np.ndarray, np.ndarray] | None:
    """NDCG of each user who came in the `truth_days` after lists were made, (users,): the list's, popularity's."""
    moment = kept.facts.moment
    times = events[Interactions.TIME]
    after = events[(times > moment) & (times <= moment + pd.Timedelta(days=params.truth_days))]
    table = pq.read_table(kept.lists, columns=["user_id", "rank", "item_id"]).to_pandas()
    users = np.intersect1d(after[Interactions.USER].unique(), table["user_id"].unique())
    if not len(users):
        return None
    items = pd.Index(pd.concat([table["item_id"], events[Interactions.ITEM]]).unique())
    k = int(table["rank"].max())
    table = table[table["user_id"].isin(users)]
    lists = np.full((len(users), k), -1)
    lists[np.searchsorted(users, table["user_id"].to_numpy()), table["rank"] - 1] = (
        items.get_indexer(table["item_id"])
    )
    truth = after[after[Interactions.USER].isin(users)].drop_duplicates(
        [Interactions.USER, Interactions.ITEM]
    )
    owner = np.searchsorted(users, truth[Interactions.USER].to_numpy())
    order = np.argsort(owner, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(users)))])
    wanted = items.get_indexer(truth[Interactions.ITEM])[order]
    before = events[times <= moment]
    age = (moment - before[Interactions.TIME]).dt.total_seconds().to_numpy() / 86400
    weight = np.bincount(
        items.get_indexer(before[Interactions.ITEM]),
        decay(age, params.half_life_days),
        len(items),
    )
    popular = np.argsort(-weight, kind="stable")[: min(k, np.count_nonzero(weight))]
    both = (
        lists,
        np.broadcast_to(np.pad(popular, (0, k - len(popular)), constant_values=-1), lists.shape),
    )
    ours, theirs = (ndcg(one, indptr, wanted) for one in both)
    return ours, theirs


def coverage(shop: Shop, archive: list[Kept], params: MonitorParams) -> Iterator[Finding]:
    """Whether the users who came had a list, how much of the catalogue is listed, and how much of it is known."""
    _, now = shop.spans(shop.events, params)
    limit = f"at least {params.min_covered:.0%}"
    what = "users who came, with a list"
    if not archive:
        yield Finding("coverage", what, None, limit, why="no lists are kept yet")
    else:
        table = pq.read_table(archive[-1].lists, columns=["user_id", "item_id"])
        listed = set(table["user_id"].unique().to_pylist())
        came = now[Interactions.USER].unique()
        share = sum(name in listed for name in came) / max(len(came), 1)
        yield Finding("coverage", what, round(share, 4), limit, share < params.min_covered)
        products = shop.table("validate-products/table.parquet")
        if products is not None:
            share = len(table["item_id"].unique()) / max(len(products), 1)
            yield Finding("coverage", "catalogue on some list", round(share, 4), "none")
    known = shop.table("split/recommending/products.parquet")
    if known is not None:
        share = float((~now[Interactions.ITEM].isin(known[Products.ITEM])).mean())
        limit = f"at most {params.max_unknown:.0%}"
        alarm = share > params.max_unknown
        yield Finding("coverage", "events with unknown items", round(share, 4), limit, alarm, TRAIN)


def unseen(shop: Shop, params: MonitorParams) -> Finding:
    """Days of events that no model was trained or judged with."""
    limit = f"below {params.retrain_days:g} days"
    cut = shop.data / "split" / "recommending" / "cut.json"
    if not cut.exists():
        return Finding(
            "coverage", "days unseen by the models", None, limit, why="nothing was trained"
        )
    end = pd.Timestamp(json.loads(cut.read_text("utf-8"))["end"])
    days = max((shop.newest - end).total_seconds() / 86400, 0.0)
    alarm = days >= params.retrain_days
    return Finding("coverage", "days unseen by the models", round(days, 3), limit, alarm, TRAIN)


def verdict(findings: list[Finding], silent: Collection[str] = ()) -> dict[str, Any]:
    """What is to be done: alarms in words, those to tell of now, and whether one of these asks for training.

    silent: keys of alarms that were told of, and last.
    """
    alarms = [one for one in findings if one.alarm]
    news = [one for one in alarms if one.key not in silent]
    return {
        "alarms": [str(one) for one in alarms],
        "keys": sorted({one.key for one in alarms}),
        "news": [str(one) for one in news],
        "train": any(one.asks == TRAIN for one in news),
    }


def lasting(past: list[dict[str, Any]], now: pd.Timestamp, repeat_days: float) -> set[str]:
    """Keys of the alarms that were told of in the last `repeat_days` and stood in every look since.

    past: earlier looks, oldest first. One that went away and came back is news.
    """
    silent: set[str] = set()
    stood: set[str] | None = None
    for one in reversed(past):
        if pd.Timestamp(one["at"]) <= now - pd.Timedelta(days=repeat_days):
            break
        keys = set(one.get("keys", ()))  # a look of an earlier version names none
        stood = keys if stood is None else stood & keys
        silent |= stood & set(one.get("told", ()))
    return silent


def looks(state: State) -> list[dict[str, Any]]:
    """All looks that are kept, oldest first."""
    return [json.loads(one.read_text("utf-8")) for one in sorted(folder(state).glob("look-*.json"))]


def folder(state: State) -> Path:
    """Where the reports and the page lie."""
    return state.home / "monitor"


def write(state: State, report: dict[str, Any], keep: int) -> Path:
    """The look's JSON, a copy of it as the newest, and the page with those before it."""
    place = folder(state)
    place.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    path = place / f"look-{report['at'].replace(':', '')}.json"
    path.write_text(text, encoding="utf-8")
    for name, content in (("index.html", page(state, looks(state)[-keep:])), ("newest.json", text)):
        partial = place / f".{name}.partial"
        partial.write_text(content, encoding="utf-8")
        partial.replace(place / name)
    return path


def page(state: State, looks: list[dict[str, Any]]) -> str:
    """The newest look as a page, with the verdicts before it. All text is escaped."""
    template = environment(state.root / TEMPLATES).get_template("monitor.html")
    return template.render(look=looks[-1], before=looks[-2::-1])


def champion(registry: Registry, capability: str) -> Any | None:
    """The model that a capability's alias names; None where there is none. Raises `Unreadable` where it can't be had."""
    version = registry.aliases(capability).get(CHAMPION)
    if version is None:
        return None
    with registry.fetch(version) as folder:
        return load_model(folder)


def monitor(root: Path, tell: bool = False) -> dict[str, Any]:
    """One look, written and logged. tell: its news are told by the caller, and not again while they last. Raises `MissingResource` where there is nothing to look at."""
    started, state, document = time.perf_counter(), State(root), read_params(root)
    params = section(document, NAME, MonitorParams)
    if params.window_days % WEEK or params.reference_days % WEEK or params.window_days < WEEK:
        raise BadConfig("monitor.window_days and reference_days must be whole weeks")
    path = made(root / "data/validate-interactions/table.parquet", "validate-interactions")
    events = pq.read_table(path).to_pandas()
    if events.empty:
        raise MissingResource(f"{path} holds no event: nothing to look at")
    now = pd.Timestamp.now(tz="UTC")
    archive = list_archive.kept(state)
    with Tracker(root, state, NAME, params.model_dump(), {"profile": document["profile"]}) as run:
        shop = Shop(root / "data", events, now, functools.partial(champion, Registry(state)))
        findings = look(shop, archive, params, document["seed"])
        silent = lasting(looks(state), now, params.repeat_days)
        found = verdict(findings, silent)
        told = [one.key for one in findings if one.alarm and one.key not in silent]
        report = {
            "at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "newest_event": events[Interactions.TIME].max().isoformat(),
            "findings": [asdict(one) for one in findings],
            **found,
            "told": sorted(set(told)) if tell else [],
        }
        write(state, report, params.keep)
        measures = {
            f"{one.check}/{one.what}": one.value for one in findings if one.value is not None
        }
        run.finish(
            {
                "rows_in": len(events),
                "rows_out": len(findings),
                "seconds": time.perf_counter() - started,
                "peak_memory_mb": peak_memory_mb(),
                "measures": {**measures, "alarms": len(report["alarms"])},
                "headline": None,
                "status": "done",
                "why": "",
                "absent": {},
                "without": {},
            }
        )
        run.client.log_artifact(run.run_id, str(folder(state) / "newest.json"))
    try:
        run_page.write(root)
    except MissingResource as error:  # the look stands without that page
        print(f"the page on the last run stays as it was: {error}")
    return report


def main(words: list[str], root: Path) -> int:
    """One look; prints the alarms."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.monitor", description=__doc__)
    parser.add_argument("--tell", action="store_true", help="its news count as told")
    asked = parser.parse_args(words)
    try:
        report = monitor(root, asked.tell)
    except VitrineError as error:
        print(f"monitor: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    for alarm in report["alarms"]:
        print(f"alarm: {alarm}{'' if alarm in report['news'] else ', as told before'}")
    print(f"{len(report['findings'])} findings, {len(report['alarms'])} alarms; ", end="")
    print("training is asked for" if report["train"] else "no training is asked for")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
