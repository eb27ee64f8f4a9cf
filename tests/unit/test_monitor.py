"""One look: quiet on unchanged data, and each fault raises its own alarm."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.harness import MissingResource
from pipelines.harness.params import read_params, section
from pipelines.harness.state import State
from pipelines.lists import archive as list_archive
from pipelines.lists.archive import Facts, Kept, filing, write_facts
from pipelines.monitor import (
    LOOK,
    TRAIN,
    Finding,
    MonitorParams,
    Shop,
    delayed_truth,
    folder,
    lasting,
    look,
    verdict,
    write,
)
from tests.conftest import REPOSITORY

NOW = pd.Timestamp("2026-03-01", tz="UTC")
USERS, DAYS = 80, 112
PARAMS = section(read_params(REPOSITORY), "monitor", MonitorParams)
ITEMS = np.array([f"i{at:02d}" for at in range(20)])


def events_of(seed: int) -> pd.DataFrame:
    """112 days of events: each user comes every other day and buys one of 20 items, three of them most often."""
    rng = np.random.default_rng(seed)
    n = USERS * DAYS // 2
    weights = np.r_[[6.0, 4.0, 3.0], np.ones(17)]
    return pd.DataFrame(
        {
            "user_id": [f"u{at:02d}" for at in rng.integers(0, USERS, n)],
            "item_id": ITEMS[rng.choice(20, n, p=weights / weights.sum())],
            "timestamp": NOW - pd.to_timedelta(rng.uniform(0, DAYS, n), unit="D"),
            "event": "purchase",
            "price": rng.lognormal(1, 0.5, n),
        }
    )


def shop(root: Path, seed: int = 1) -> Shop:
    """Those events, with their products and users, as the stages leave them."""
    products = pd.DataFrame({"item_id": ITEMS, "category": ["a", "b"] * 10})
    users = pd.DataFrame({"user_id": [f"u{at:02d}" for at in range(USERS)], "age": ["old"] * USERS})
    for name, frame in (("products", products), ("users", users)):
        for place in (f"split/recommending/{name}.parquet", f"validate-{name}/table.parquet"):
            path = root / "data" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    cut = {"test_from": "2026-01-15T00:00:00+00:00", "end": NOW.isoformat()}
    (root / "data/split/recommending/cut.json").write_text(json.dumps(cut))
    return Shop(root / "data", events_of(seed), NOW)


def lists(root: Path, moment: str, items: np.ndarray, before: str | None = None) -> Kept:
    """The same list for every user, made at a moment."""
    facts = Facts(moment, before or moment, "c" * 64, "2026-01-15T00:00:00+00:00", 0, USERS, "test")
    table = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{at:02d}" for at in range(USERS)], len(items)),
            "rank": np.tile(np.arange(1, len(items) + 1), USERS).astype("int32"),
            "item_id": np.tile(items, USERS),
            "score": 1.0,
        }
    )
    state = State(root)
    with filing(list_archive.archive(state) / facts.name) as place:
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), place / "lists.parquet")
        write_facts(place, facts)
    return Kept(list_archive.archive(state) / facts.name, facts)


def alarms(found: list[Finding]) -> set[tuple[str, str]]:
    return {(one.check, one.asks) for one in found if one.alarm}


def test_unchanged_data_are_quiet(tmp_path: Path) -> None:
    made = shop(tmp_path)
    archive = [lists(tmp_path, "2026-02-10T00:00:00+00:00", ITEMS[:5])]
    found = look(made, archive, PARAMS, seed=1)
    assert alarms(found) == set() and verdict(found)["alarms"] == []
    assert {one.check for one in found} == {
        *("freshness", "volume", "drift", "quality", "coverage"),
    }


@pytest.mark.parametrize(
    ("fault", "alarm"),
    [
        ("late", ("freshness", LOOK)),
        ("few", ("volume", LOOK)),
        ("dear", ("drift", TRAIN)),
        ("strangers", ("coverage", LOOK)),
        ("items", ("coverage", TRAIN)),
        ("bad lists", ("quality", TRAIN)),
        ("unseen", ("coverage", TRAIN)),
    ],
)
def test_each_fault_raises_its_alarm(tmp_path: Path, fault: str, alarm: tuple[str, str]) -> None:
    made, params = shop(tmp_path), replace_days(fault)
    recent = made.events["timestamp"] > NOW - pd.Timedelta(days=28)
    listed = ITEMS[:5]
    if fault == "late":
        made = replace(made, now=NOW + pd.Timedelta(days=9))
    elif fault == "few":
        made = replace(made, events=made.events[~recent | (np.arange(len(recent)) % 2 == 0)])
    elif fault == "dear":
        made.events.loc[recent, "price"] *= 3
    elif fault == "strangers":
        made.events.loc[recent, "user_id"] = "x" + made.events["user_id"]
    elif fault == "items":
        made.events.loc[recent, "item_id"] = "new"
    elif fault == "bad lists":
        listed = np.array(["i18", "i19"])
        listed = np.concatenate([listed, [f"gone{at}" for at in range(3)]])
    elif fault == "unseen":
        path = made.data / "split/recommending/cut.json"
        path.write_text(json.dumps({"end": "2026-02-10T00:00:00+00:00"}))
    archive = [lists(tmp_path, "2026-02-10T00:00:00+00:00", listed)]
    found = look(made, archive, params, seed=1)
    assert alarm in alarms(found)
    assert verdict(found)["train"] == any(asks == TRAIN for _, asks in alarms(found))


class Reader:
    """Says what stands in the text, as a sentiment model would."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        assert list(frame.columns) == ["text", "language"]
        return pd.DataFrame({"label": frame["text"], "confidence": 0.9})


def reviewed(root: Path, blame: float) -> Shop:
    """The shop with a review a user and day; in the window a share of `blame` is bad, before it a third."""
    held = shop(root)
    rng = np.random.default_rng(2)
    events = held.events
    new = events["timestamp"] > NOW - pd.Timedelta(days=PARAMS.window_days)
    bad = rng.random(len(events)) < np.where(new, blame, 1 / 3)
    reviews = events[["user_id", "item_id", "timestamp"]].assign(
        review_id=[f"r{at}" for at in range(len(events))],
        text=np.where(bad, "negative", "positive"),
        language="en",
    )
    path = root / "data/validate-reviews/table.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pandas(reviews, preserve_index=False), path)
    return replace(held, champion={"sentiment": Reader()}.get)


@pytest.mark.parametrize(("blame", "moved"), [(1 / 3, False), (0.9, True)])
def test_what_the_champion_says_of_new_reviews_is_held_against_the_old(
    tmp_path: Path, blame: float, moved: bool
) -> None:
    found = {one.what: one for one in look(reviewed(tmp_path, blame), [], PARAMS, seed=0)}
    label = found["scores.sentiment, label"]
    assert label.alarm == moved and label.asks == TRAIN and label.value is not None
    assert max(label.more["n"]) <= PARAMS.told_reviews
    assert not found["scores.sentiment, confidence"].alarm


def test_a_champion_that_can_not_be_read_is_an_alarm_and_the_look_goes_on(tmp_path: Path) -> None:
    def unreadable(capability: str) -> None:
        raise MissingResource(f"{capability} <is> damaged")

    found = look(replace(reviewed(tmp_path, 1 / 3), champion=unreadable), [], PARAMS, seed=0)
    (told,) = [one for one in found if one.check == "champion"]
    assert told.alarm and told.asks == LOOK and "damaged" in str(told)
    assert {one.check for one in found} >= {"freshness", "volume", "drift", "coverage"}


def test_a_lasting_alarm_is_told_once_in_the_days_that_are_set() -> None:
    finding = Finding("drift", "interactions.price", 0.5, "PSI 0.20", True, TRAIN)
    past, told = [], []
    for day in range(17):
        now = NOW + pd.Timedelta(days=day)
        found = [replace(finding, alarm=day != 10)]  # it goes away on one day and comes back
        said = verdict(found, lasting(past, now, 7.0))
        told += [day] if said["train"] else []
        assert bool(said["news"]) == said["train"]
        keys = said["keys"] if said["news"] else []
        past.append({"at": now.isoformat(), "keys": said["keys"], "told": keys})
    assert told == [0, 7, 11]


def test_another_alarm_is_news_though_one_lasts() -> None:
    old = Finding("drift", "interactions.price", 0.5, "PSI 0.20", True, TRAIN)
    past = [{"at": NOW.isoformat(), "keys": [old.key], "told": [old.key]}]
    new = Finding("quality", "lists of 2026-02-10 (c)", 0.0, "popularity", True, TRAIN)
    said = verdict([old, new], lasting(past, NOW + pd.Timedelta(days=1), 7.0))
    assert said["alarms"] == [str(old), str(new)] and said["news"] == [str(new)] and said["train"]
    assert replace(new, what="lists of 2026-02-11 (c)").key == new.key


def replace_days(fault: str) -> MonitorParams:
    return PARAMS.model_copy(update={"max_age_days": 3}) if fault == "late" else PARAMS


def test_delayed_truth_is_what_users_did_after_the_lists(tmp_path: Path) -> None:
    """One user bought exactly the list, another none of it, a third came too late."""
    day = pd.Timedelta(days=1)
    start = pd.Timestamp("2026-02-10", tz="UTC")
    events = pd.DataFrame(
        {
            "user_id": ["u00", "u00", "u01", "u02", "u03"],
            "item_id": ["i00", "i01", "i09", "i00", "i09"],
            "timestamp": [start + day, start + 2 * day, start + day, start + 20 * day, start - day],
        }
    )
    ours, popular = delayed_truth(events, lists(tmp_path, start.isoformat(), ITEMS[:2]), PARAMS)
    assert ours.tolist() == [1.0, 0.0]
    assert popular.tolist() == [0.0, 1.0]


def test_lists_made_with_hindsight_judge_nobody(tmp_path: Path) -> None:
    made = shop(tmp_path)
    kept = lists(tmp_path, "2026-01-14T23:00:00+00:00", ITEMS[:5])
    assert kept.facts.hindsight
    fair = lists(tmp_path, "2026-01-14T23:00:00+00:00", ITEMS[:5], "2026-01-15T00:00:00+00:00")
    assert not fair.facts.hindsight
    judged = [one for one in look(made, [kept], PARAMS, 1) if one.check == "quality"]
    assert judged[0].value is None and judged[0].why


def test_the_archive_knows_its_newest(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert list_archive.newest(state) is None
    lists(tmp_path, "2026-02-10T00:00:00+00:00", ITEMS[:2])
    lists(tmp_path, "2026-02-11T00:00:00+00:00", ITEMS[:2])
    again = lists(tmp_path, "2026-02-11T00:00:00+00:00", ITEMS[:3])
    assert len(list_archive.kept(state)) == 2
    assert list_archive.newest(state) == again
    with pytest.raises(RuntimeError), filing(list_archive.archive(state) / "20260301T000000-x"):
        raise RuntimeError("cut off")
    assert len(list(list_archive.archive(state).iterdir())) == 2


def test_the_page_escapes_and_keeps_what_was_seen_before(tmp_path: Path) -> None:
    state = State(tmp_path)
    (tmp_path / "pipelines").symlink_to(REPOSITORY / "pipelines")
    finding = Finding("drift", "<script>x", 0.5, "PSI", alarm=True, asks=TRAIN)
    for hour in (1, 2):
        report = {"at": f"2026-03-01T0{hour}:00:00Z", "newest_event": "x"}
        write(state, {**report, "findings": [asdict(finding)], **verdict([finding])}, keep=5)
    text = (folder(state) / "index.html").read_text()
    assert "&lt;script&gt;x" in text and "<script>" not in text
    assert "Training is asked for." in text and "2026-03-01T01:00:00Z: 1 alarm, training" in text
    newest = json.loads((folder(state) / "newest.json").read_text())
    assert newest["train"] and newest["at"].startswith("2026-03-01T02")
