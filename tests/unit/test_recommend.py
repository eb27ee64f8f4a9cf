"""The batch lists: full, within the rules, with reasons, and the same whatever the size of a block."""

import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.recommenders.baselines import PersonalPopularity
from models.recommenders.events import Events, hash_order
from pipelines.harness import BadConfig, BadData
from pipelines.harness.state import State
from pipelines.history.event_files import EventFiles, written
from pipelines.lists.files import REASONS, Tally, write
from pipelines.lists.parts import CODE, PIPELINES, parts
from pipelines.own_tables import exclusions
from pipelines.own_tables.exclusions import Exclusions
from pipelines.recommend import (
    RecommendParams,
    everyone,
    listable,
    make_lists,
    open_shop,
    serving,
)
from tests.list_params import unlimited

ITEMS = [f"i{at:02d}" for at in range(24)]
PARAMS = unlimited(6, 4)


def changed(**more: object) -> RecommendParams:
    return PARAMS.model_copy(update=more)


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    size = 160
    days = pd.Timestamp("2017-03-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 60, size), "D")
    users = [f"u{at:02d}" for at in rng.integers(0, 11, size)]
    kinds = rng.choice(["purchase", "view"], size, p=[0.8, 0.2])
    items = rng.choice(ITEMS[:16], size)
    return pd.DataFrame({"user_id": users, "item_id": items, "timestamp": days, "event": kinds})


@pytest.fixture(scope="module")
def products() -> pd.DataFrame:
    """All items but the first, which is no product any more; the second is not available."""
    rows = {"item_id": ITEMS[1:], "category": [f"c{at % 4}" for at in range(23)]}
    return pd.DataFrame(rows).assign(available=[False] + [True] * 22)


@pytest.fixture(scope="module")
def model(events: pd.DataFrame) -> PersonalPopularity:
    """It knows the first 20 items; four are newer than it."""
    return PersonalPopularity.fit(Events.from_frame(events, hash_order(ITEMS[:20])), 30.0)


def lists(
    model: PersonalPopularity,
    products: pd.DataFrame,
    events: pd.DataFrame,
    params: RecommendParams,
    more: tuple[str, ...] = ("z-new",),
    kept_off: Exclusions = Exclusions(),  # noqa: B008 frozen
) -> pd.DataFrame:
    users = sorted({*events["user_id"], *more})
    known = on_disk(model, products, events)
    shop = open_shop(known, products, params, kept_off)
    return pa.concat_tables(make_lists(model, shop, known, users, params)).to_pandas()


def on_disk(model: PersonalPopularity, products: pd.DataFrame, events: pd.DataFrame) -> EventFiles:
    batches = pa.Table.from_pandas(events).to_batches()
    return written(batches, listable(model.items, products), Path(tempfile.gettempdir()))


def test_every_user_has_a_full_list_in_order(model, products, events) -> None:
    table = lists(model, products, events, PARAMS)
    assert table.groupby("user_id").size().eq(6).all()
    assert table["user_id"].nunique() == events["user_id"].nunique() + 1
    keys = list(zip(table["user_id"], table["rank"], strict=True))
    assert keys == sorted(keys)
    assert not table.duplicated(["user_id", "item_id"]).any()
    falls = table.groupby("user_id")["score"].diff().dropna()
    assert (falls <= 0).all()


def test_without_a_champion_lists_hold_what_sells(products, events, tmp_path: Path) -> None:
    receipt = tmp_path / "receipt.json"
    receipt.write_text(json.dumps({"capability": "recommender", "champion": None}))
    missed = {}
    run = SimpleNamespace(root=tmp_path, input=lambda path: receipt, miss=missed.setdefault)
    events.to_parquet(tmp_path / "events.parquet", index=False)
    paths = [tmp_path / "events.parquet"]
    popular = serving(run, paths, products["item_id"].tolist(), 14.0)
    assert "no champion" in missed["a champion"]
    table = lists(popular, products, events, PARAMS)
    assert table.groupby("user_id").size().eq(6).all()
    assert table.groupby("rank")["item_id"].nunique().eq(1).all()
    assert set(table["reason"]) == {"popular"}


def test_what_is_no_product_or_not_available_is_left_out(model, products, events) -> None:
    table = lists(model, products, events, changed(k=24))
    assert set(table["item_id"]) == set(ITEMS[2:])


def test_bought_items_are_left_out_when_asked(model, products, events) -> None:
    table = lists(model, products, events, changed(exclude_bought="always"))
    bought = events[events["event"] == "purchase"]
    had = set(zip(bought["user_id"], bought["item_id"], strict=True))
    assert not had & set(zip(table["user_id"], table["item_id"], strict=True))
    assert table.groupby("user_id").size().eq(6).all()


def test_where_nothing_is_bought_again_lists_hold_no_item_twice(model, products, events) -> None:
    some = lists(model, products, events, changed(exclude_bought="auto"))
    assert some.equals(lists(model, products, events, PARAMS))  # they do buy again here
    once = events.drop_duplicates(["user_id", "item_id"]).assign(event="rating")
    table = lists(model, products, once, changed(exclude_bought="auto"))
    had = set(zip(once["user_id"], once["item_id"], strict=True))
    assert not had & set(zip(table["user_id"], table["item_id"], strict=True))


def test_a_category_is_limited(model, products, events) -> None:
    table = lists(model, products, events, changed(max_per_category=2)).merge(products)
    assert table.groupby(["user_id", "category"]).size().max() <= 2


def test_a_brand_is_limited(model, products, events) -> None:
    branded = products.assign(brand=[f"b{at % 5}" for at in range(23)])
    table = lists(model, branded, events, changed(max_per_brand=2, max_per_category=3))
    found = table.merge(branded).groupby(["user_id", "brand"]).size()
    assert found.max() <= 2 and table.groupby("user_id").size().eq(6).all()


def test_prices_beyond_the_bounds_and_unknown_ones_are_left_out(model, products, events) -> None:
    priced = products.assign(price=[np.nan, *np.arange(22.0)])
    table = lists(model, priced, events, changed(min_price=4.0, max_price=12.0)).merge(priced)
    assert table["price"].between(4.0, 12.0).all()
    assert table.groupby("user_id").size().eq(6).all()


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({"min_price": 5.0, "max_price": 1.0}, "is below min_price 5"),
        ({"min_price": 500.0}, "no product that is available has such a price"),
        ({"max_per_brand": -1}, "below 0"),
    ],
)
def test_limits_that_no_list_can_keep_are_refused(model, products, events, bounds, told) -> None:
    with pytest.raises(BadConfig, match=told):
        lists(model, products.assign(price=2.0), events, changed(**bounds))


def test_a_bound_on_prices_that_nobody_knows_is_refused(model, products, events) -> None:
    with pytest.raises(BadConfig, match="have no price"):
        lists(model, products, events, changed(max_price=1.0))


def test_what_is_excluded_is_on_no_list_or_not_on_that_users(
    model, products, events, tmp_path: Path
) -> None:
    usual = lists(model, products, events, PARAMS)
    first = usual[usual["rank"] == 1].set_index("user_id")["item_id"]
    everywhere, own = first["u05"], [(user, first[user]) for user in ("u00", "u10", "z-new")]
    path = tmp_path / "exclusions.csv"
    rows = [f"{item},{user},asked" for user, item in own]
    rows += [f"{everywhere},,recalled", "gone,,", f"{ITEMS[3]},nobody,"]
    path.write_text("\n".join(["item_id,user_id,why", *rows]) + "\n")
    # Blocks of four users: the three stand in different ones.
    table = lists(model, products, events, PARAMS, kept_off=exclusions.read(path))
    assert everywhere not in set(table["item_id"])
    assert not set(own) & set(zip(table["user_id"], table["item_id"], strict=True))
    assert table.groupby("user_id").size().eq(6).all()
    untouched = usual.groupby("user_id").filter(
        lambda rows: everywhere not in set(rows["item_id"]) and rows.name not in dict(own)
    )
    same = table[table["user_id"].isin(untouched["user_id"])]
    assert same.reset_index(drop=True).equals(untouched.reset_index(drop=True))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("item,user\n", "the columns must be item_id, user_id, why; found: item, user"),
        ("item_id,user_id,why\na,,\n,u1,\n", "row 2, column item_id: empty"),
        ("item_id,user_id,why\na\n", "row 1: 1 cells: write 3"),
    ],
)
def test_exclusions_that_cannot_be_read_name_the_row(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "exclusions.csv"
    path.write_text(text)
    with pytest.raises(BadData, match=told):
        exclusions.read(path)


def test_the_limit_gives_way_before_a_list_is_short(model, products, events) -> None:
    table = lists(model, products, events, changed(max_per_category=1))
    assert table.groupby("user_id").size().eq(6).all()


def test_blocks_change_nothing(model, products, events) -> None:
    whole = lists(model, products, events, changed(block_users=1000))
    assert whole.equals(lists(model, products, events, changed(block_users=1)))


def test_reasons_are_true(model, products, events) -> None:
    table = lists(model, products, events, changed(k=22))
    had = set(zip(events["user_id"], events["item_id"], strict=True))
    sold = set(events["item_id"])
    for row in table.itertuples():
        match row.reason:
            case "again":
                assert (row.user_id, row.item_id) in had
            case "because":
                assert (row.user_id, row.reason_item_id) in had
                assert row.reason_item_id != row.item_id
            case "popular":
                assert row.item_id in sold
            case "catalogue":
                assert row.item_id not in sold
            case other:
                raise AssertionError(other)
    new = table[table["user_id"] == "z-new"]
    assert not new["reason"].isin(["again", "because"]).any()
    assert new["reason_item_id"].isna().all()
    filled = table["item_id"].isin(ITEMS[20:])
    assert table["score"].isna().equals(filled)


def test_equal_inputs_give_equal_bytes_and_true_counts(model, products, events, tmp_path) -> None:
    known = on_disk(model, products, events)
    shop = open_shop(known, products, PARAMS, Exclusions())
    users = sorted(set(events["user_id"]))
    counts = []
    for name in ("one", "two"):
        counts.append(Tally(PARAMS.k))
        blocks = make_lists(model, shop, known, users, PARAMS)
        write(counts[-1].watch(blocks), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert counts[0] == counts[1]
    assert counts[0].rows == len(users) * 6 and counts[0].full == counts[0].users == len(users)
    assert sum(counts[0].reasons[name] for name in REASONS) == counts[0].rows
    assert counts[0].items == set(pq.read_table(tmp_path / "one")["item_id"].to_pylist())


class Cut(Exception):
    """The run was killed."""


def test_what_was_cut_off_goes_on_where_it_stopped_and_ends_in_equal_bytes(
    model, products, events, tmp_path, monkeypatch
) -> None:
    known = on_disk(model, products, events)
    shop = open_shop(known, products, PARAMS, Exclusions())
    users = sorted(set(events["user_id"]))
    state, source = State(tmp_path), tmp_path / "events"
    source.write_text("some")
    asked: list[int] = []
    scores = PersonalPopularity.scores
    monkeypatch.setattr(
        PersonalPopularity, "scores", lambda own, some: asked.append(len(some)) or scores(own, some)
    )

    def run(name: str, words: list[str], stop: int | None = None) -> bytes:
        with parts(state, words, [source]) as done:
            blocks = make_lists(model, shop, known, users, PARAMS, done)
            if stop is not None:
                for _ in range(stop):
                    next(blocks)
                raise Cut
            write(blocks, tmp_path / name)
        return (tmp_path / name).read_bytes()

    whole = run("whole", ["a"])
    total, asked[:] = len(asked), []
    assert total == 3 and list((tmp_path / ".vitrine/parts").iterdir()) == []
    with pytest.raises(Cut):
        run("cut", ["a"], stop=2)
    (folder,) = (tmp_path / ".vitrine/parts").iterdir()
    (folder / ".8.1").write_text("a block that was being written")
    assert run("cut", ["a"]) == whole and len(asked) == total  # nothing was made twice
    with pytest.raises(Cut):
        run("other", ["a"], stop=2)
    asked[:] = []
    source.write_text("others")
    assert run("other", ["a"]) == whole and len(asked) == total  # of other inputs, all anew
    assert len(list((tmp_path / ".vitrine/parts").iterdir())) == 1
    os.utime(folder, (0, 0))
    run("later", ["b"])
    assert not folder.exists()


def test_lists_are_known_by_code_that_is_there() -> None:
    for pattern in CODE:
        assert list(PIPELINES.glob(pattern)), pattern


def test_users_without_events_are_known_too(events: pd.DataFrame, tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["u00", "a"]}), tmp_path / "users.parquet")
    batches = pa.Table.from_pandas(events).to_batches()
    found = everyone(written(batches, [], tmp_path), tmp_path / "users.parquet")
    assert found == sorted({*events["user_id"], "a"})
