"""`auto` and its members: what a bundle holds, reasons, newcomers, and members that were fitted before."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from models.bundle import Bundle, DamagedBundle, load, save
from models.kinds import load_model
from models.recommenders import auto, base
from models.recommenders.auto import Auto, fit_auto
from models.recommenders.base import Recommender
from models.recommenders.baselines import PersonalPopularity, Popularity
from models.recommenders.catalogue import Catalogue
from models.recommenders.cuts import Protocol, met
from models.recommenders.events import Events, hash_order
from models.recommenders.features import Shop, pairs
from models.recommenders.ranker import Ranker, Rows, fit_trees, linear
from models.recommenders.registry import RECOMMENDERS, Choice, Given, fitted
from models.recommenders.settings import RegistrySettings, SequenceSettings
from models.recommenders.stored import packed
from pipelines.history.event_files import written
from pipelines.own_tables.exclusions import Exclusions
from pipelines.recommend import listable, make_lists, open_shop
from tests.list_params import unlimited

ITEMS, USERS = 30, 60
NAMES = hash_order([f"货 {at}" for at in range(ITEMS)])
PROTOCOL = Protocol(last=False, days=10.0)
SEQUENCE = SequenceSettings(8, 1, 1, 5, 0.0, 0.01, 0.0, 8, 64, 2000, epochs=1)
SIZES = RegistrySettings(8, 3, 20, 5.0, 5, SEQUENCE)
SOME = ("popularity", "personal-popularity", "next-item", "item-cosine", "attribute-affinity")


def events() -> Events:
    """Users in five groups, each with items of its own that are bought again."""
    rng = np.random.default_rng(9)
    user = np.repeat(np.arange(USERS), 12)
    item = (user % 5 * 6 + rng.integers(0, 6, len(user))) % ITEMS
    day = rng.uniform(0, 60, len(user))
    return Events.from_arrays([f"u{at}" for at in range(USERS)], NAMES, user, item, day)


def catalogue() -> Catalogue:
    numbers = np.arange(ITEMS)
    columns = {
        "colour": [f"colour {at // 6}" for at in numbers],
        "name": [f"thing of make {at % 7} in shop {at // 6}" for at in numbers],
        "price": [float(at) + 0.5 if at % 4 else None for at in numbers],
    }
    return Catalogue.from_columns(columns, ITEMS)


def given() -> Given:
    return Given(events(), catalogue(), PROTOCOL, True, False, ITEMS, SIZES, seed=1, threads=1)


def fit(names: tuple[str, ...], again: bool = True, beside: dict | None = None) -> Auto:
    model, _ = fit_auto(
        events(),
        catalogue(),
        PROTOCOL,
        SIZES,
        again=again,
        allowed=None,
        names=names,
        seed=1,
        threads=1,
        say=lambda text: None,
        k=5,
        beside=beside,
    )
    return model


def grown(
    rows: Rows, names: list[str], fallback: int, seed: int, threads: int
) -> tuple[Ranker, str, dict[str, np.ndarray], list[int]]:
    """Trees over a blend of all members, whatever they are worth."""
    weights = np.full(2 * len(names), 0.5)
    trees = fit_trees(rows, linear(rows) @ weights, 10, seed, threads)
    return Ranker(weights, trees), "trees", {}, list(range(len(names)))


@pytest.fixture(scope="module")
def model() -> Auto:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(auto, "chosen", grown)
        return fit(SOME)


def one_of(name: str) -> Recommender:
    label, build = next(iter(RECOMMENDERS[name](given())))
    return build()


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_a_bundle_of_each_member_says_the_same(name: str, tmp_path: Path) -> None:
    fresh = one_of(name)
    save(fresh.to_bundle(), tmp_path / "bundle")
    again = type(fresh).from_bundle(load(tmp_path / "bundle"))
    histories = events().histories
    assert np.array_equal(fresh.scores(histories), again.scores(histories))
    with pytest.raises(DamagedBundle, match=type(fresh).__name__):
        Auto.from_bundle(load(tmp_path / "bundle"))


def test_a_bundle_of_auto_lists_the_same(model: Auto, tmp_path: Path) -> None:
    save(model.to_bundle(), tmp_path / "bundle")
    again = load_model(tmp_path / "bundle")
    asked = pd.DataFrame({"user_id": [*model.known.users, "nobody yet"]})
    pd.testing.assert_frame_equal(model.predict(asked), again.predict(asked))
    assert list(again.members) == list(model.members)
    histories = events().histories.take(np.arange(5))
    lists, _ = base.recommend(model, histories, 5)
    assert np.array_equal(model.explain(histories, lists), again.explain(histories, lists))
    assert save(again.to_bundle(), tmp_path / "again") == save(
        model.to_bundle(), tmp_path / "first"
    )


def test_what_members_share_is_written_once(model: Auto) -> None:
    bundle = model.to_bundle()
    held = [(v.dtype.str, v.shape, v.tobytes()) for v in bundle.tensors.values()]
    assert len(set(held)) == len(held)
    assert sum("货 1" in names for names in bundle.vocabulary.values()) == 1


@pytest.mark.parametrize("part", ["base:blocks", "nowhere:Auto", "..bundle:Bundle"])
def test_a_bundle_makes_nothing_but_parts_of_recommenders(part: str) -> None:
    with pytest.raises(DamagedBundle, match="is no part"):
        Auto.from_bundle(Bundle("recommender", {"model": {"part": part, "of": {}}}))


def test_what_no_bundle_can_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="half_life: set"):
        packed("popularity", Popularity(NAMES, np.ones(ITEMS), {1.0}))


@pytest.mark.parametrize("name", [name for name in RECOMMENDERS if name != "user-neighbours"])
def test_members_fall_by_what_they_lose_without_an_item(name: str) -> None:
    """Some entries of three users, of whom the second is not asked about."""
    fresh = one_of(name)
    some = events().histories.take(np.array([7, 3, 8]))
    left = np.r_[0:3, some.indptr[2] : some.indptr[3]]
    listed = np.stack([np.arange(ITEMS), np.arange(ITEMS), np.arange(ITEMS)[::-1]])
    falls, slow = fresh.falls(some, left, listed), Recommender.falls(fresh, some, left, listed)
    if name in ("popularity", "attribute-popularity"):
        assert not falls.any()
    else:
        own = 1e-3 if name == "personal-popularity" else 1e-4
        np.testing.assert_allclose(falls, slow, atol=own)


def test_features_without_an_entry_are_those_of_the_history_without_it() -> None:
    known, goods = events(), catalogue()
    shop, some = Shop.at(known, goods), known.histories.take(np.array([7, 3, 8]))
    left = np.arange(len(some.item))
    owner = np.repeat(some.owner_of(left), ITEMS)
    item = np.tile(np.arange(ITEMS), len(left))
    found = pairs(some, shop, goods, owner, item, np.repeat(left, ITEMS))
    views = some.without_each(left)
    slow = pairs(views, shop, goods, np.repeat(left, ITEMS), item)
    np.testing.assert_allclose(found, slow, atol=1e-5)
    assert not np.array_equal(found, pairs(some, shop, goods, owner, item), equal_nan=True)


def test_a_reason_of_auto_makes_the_score_fall(model: Auto) -> None:
    some = events().histories.take(np.arange(12))
    lists, _ = base.recommend(model, some, 3)
    reasons = model.explain(some, lists)
    assert model.ranker is not None and (reasons >= 0).mean() > 0.5
    fell = []
    for user, place in zip(*np.nonzero(reasons >= 0), strict=True):
        one = some.take(np.array([user]))
        entry = int(np.flatnonzero(one.item == reasons[user, place])[0])
        listed = lists[user, place]
        fell.append(
            model.scores(one.without_each(np.array([entry])))[0, listed]
            < model.scores(one)[0, listed]
        )
    assert np.mean(fell) > 0.95


def test_reasons_do_not_depend_on_who_else_is_asked_about(model: Auto) -> None:
    some = events().histories.take(np.arange(12))
    lists, _ = base.recommend(model, some, 3)
    alone = [
        model.explain(some.take(np.array([user])), lists[[user]])[0] for user in range(len(lists))
    ]
    assert np.array_equal(model.explain(some, lists), np.stack(alone))


def test_of_one_member_a_reason_is_the_item_without_which_the_score_falls_most() -> None:
    alone = fit(("next-item",), again=False)
    some = events().histories.take(np.arange(4))
    lists, _ = base.recommend(alone, some, 3, again=False)
    reasons = alone.explain(some, lists)
    assert (reasons >= 0).any()
    for user, place in zip(*np.nonzero(reasons >= 0), strict=True):
        one = some.take(np.array([user]))
        listed = lists[user, place]
        rest = {
            one.item[entry]: alone.scores(one.without_each(np.array([entry])))[0, listed]
            for entry in range(len(one.item))
        }
        lowest = min(rest.values())
        assert rest[reasons[user, place]] == pytest.approx(lowest, abs=1e-5)
        assert lowest < alone.scores(one)[0, listed]


def test_who_has_no_history_gets_what_sells(model: Auto) -> None:
    listed = model.predict(pd.DataFrame({"user_id": ["nobody yet"]}))
    assert model.newcomers is not None
    popular = events().popularity(model.newcomers.setting.half_life)
    assert listed.item_id.tolist() == [NAMES[at] for at in np.argsort(-popular)[:5]]


def test_who_is_told_by_events_is_listed_like_one_who_is_known(model: Auto) -> None:
    """Under another name, and of a few events as of many: all members and the ranker take part."""
    seconds = np.round(events().day * 86_400)
    known = Events.from_frame(told(seconds, ""), NAMES)
    knowing = model.observe(known)
    theirs = knowing.predict(pd.DataFrame({"user_id": known.users}))
    given = knowing.predict(told(seconds, "new "))
    given["user_id"] = given.user_id.str.removeprefix("new ")
    columns = ["user_id", "rank", "item_id"]
    listed = [one[columns].sort_values(columns[:2], ignore_index=True) for one in (theirs, given)]
    pd.testing.assert_frame_equal(*listed)


def told(seconds: np.ndarray, prefix: str) -> pd.DataFrame:
    """The events with their moments in seconds; every other user's last five alone."""
    known = events()
    frame = pd.DataFrame(
        {
            "user_id": [f"{prefix}u{at}" for at in known.user],
            "item_id": np.asarray(NAMES, dtype=object)[known.item],
            "timestamp": pd.to_datetime(seconds, unit="s", utc=True),
        }
    )
    return frame[(known.user % 2 == 0) | (known.later < 5)]


def test_newcomers_of_the_held_back_rows_choose_nothing() -> None:
    known, rng = events(), np.random.default_rng(3)
    # Many who have nothing before the cut, and who all take what the others never did.
    new, late = np.repeat(np.arange(USERS, 3 * USERS), 3), np.tile([0, 1, 2], 2 * USERS)
    whole = Events.from_arrays(
        [f"u{at}" for at in range(3 * USERS)],
        NAMES,
        np.r_[known.user, new],
        np.r_[known.item, late],
        np.r_[known.day, rng.uniform(55, 60, len(new))],
        known.now,
    )
    cut = PROTOCOL.cut(whole, 0)
    assert (cut.asked >= USERS).sum() > (cut.asked < USERS).sum()
    known_ones = met(cut)
    assert known_ones.asked.tolist() == [at for at in cut.asked if at < USERS]
    assert len(known_ones.targets) == len(known_ones.asked)
    strangers = PROTOCOL.cut(whole.between(54.9, 61.0), 0)
    assert met(strangers).asked.tolist() == strangers.asked.tolist()


def test_what_is_bought_later_counts_without_training(model: Auto) -> None:
    known = events()
    item = NAMES[0]
    late = pd.DataFrame(
        {
            "user_id": [f"late {at}" for at in range(40)],
            "item_id": item,
            "timestamp": pd.Timestamp(known.now, unit="D", tz="UTC"),
        }
    )
    more = Events.from_frame(late, NAMES)
    listed = model.observe(more).predict(pd.DataFrame({"user_id": ["nobody yet"]}))
    assert listed.item_id.tolist()[0] == item
    assert model.predict(pd.DataFrame({"user_id": ["nobody yet"]})).item_id.tolist()[0] != item


def test_no_earlier_cut_goes_on_from_a_model_that_saw_what_it_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts = []

    def seen(name: str, choice: Choice, given: Given) -> Recommender:
        starts.append((given.events.now, given.start is not None))
        return fitted(name, choice, given)

    monkeypatch.setattr(auto, "fitted", seen)
    fit(("next-item", "item-cosine", "popularity"), again=False)
    assert {begun for now, begun in starts if now < events().now} == {False}
    assert {begun for now, begun in starts if now == events().now} == {True}


def test_a_member_that_was_fitted_before_takes_part_and_is_not_fitted_again() -> None:
    """Its own purchases say what users come back to; nothing else here does."""
    ready = PersonalPopularity.fit(events().before(50.0), 90.0)
    found = fit(("popularity",), beside={"ours": ready})
    assert "ours" in found.members
    assert found.members["ours"].half_life == 90.0


def test_the_shop_lists_with_auto_and_gives_its_reasons(model: Auto, tmp_path: Path) -> None:
    known = events()
    frame = pd.DataFrame(
        {
            "user_id": np.asarray(known.users, dtype=object)[known.user],
            "item_id": np.asarray(NAMES, dtype=object)[known.item],
            "timestamp": pd.to_datetime(known.day, unit="D", utc=True),
            "event": "purchase",
        }
    )
    products = pd.DataFrame({"item_id": [*NAMES, "newer than the model"]})
    params = unlimited(6, 25)
    batches = pa.Table.from_pandas(frame).to_batches()
    on_disk = written(batches, listable(model.items, products), tmp_path)
    shop = open_shop(on_disk, products, params, Exclusions())
    users = [*known.users, "nobody yet"]
    table = pa.concat_tables(make_lists(model, shop, on_disk, users, params)).to_pandas()
    at_once = pa.concat_tables(make_lists(model, shop, on_disk, users, params, threads=3))
    pd.testing.assert_frame_equal(at_once.to_pandas(), table)
    assert (table.groupby("user_id").size() == params.k).all() and len(table) == 6 * len(users)
    assert set(table[table.user_id == "nobody yet"].reason) == {"popular"}
    told = table[table.reason == "because"].merge(
        frame[["user_id", "item_id"]].drop_duplicates(),
        left_on=["user_id", "reason_item_id"],
        right_on=["user_id", "item_id"],
        how="left",
    )
    assert len(told) and told.item_id_y.notna().all()
    assert (table.reason == "again").any()
