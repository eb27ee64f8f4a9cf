"""The catalogue's audit: second opinions, nearly the same pictures, blank and tiny ones."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.catalogue.conspicuous import look
from models.catalogue.opinion import second_opinion
from models.catalogue.pairing import FEWEST, misfits
from models.catalogue.twins import nearest_twin
from models.catalogue.written import agreement, words_of, written
from models.encoders.decoding import Undecodable
from models.vision.families import unit
from pipelines.audit import (
    BLANK,
    DAMAGED,
    DISAGREES,
    KINDS,
    MISPLACED,
    NEAR,
    PROPOSED,
    SAME,
    TINY,
    AuditParams,
    conspicuous,
    damaged,
    in_order,
    misplaced,
    of_packs,
    opinions,
    shared,
    situations,
    twins,
    with_packs,
    words,
)

PARAMS = AuditParams(
    support=5, least=0.5, alike=0.98, side=16, spread=3.0, worth={kind: 1.0 for kind in KINDS}
)


def png(cells: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(cells).save(out, "png")
    return out.getvalue()


def clouds(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    truth = np.arange(count) % classes
    vectors = 3.0 * np.eye(classes, 8)[truth] + draw.normal(size=(count, 8)) * 0.5
    return vectors.astype(np.float32), truth


def test_planted_errors_are_found_and_empty_cells_filled():
    vectors, truth = clouds(400, 4)
    labels = truth.copy()
    labels[:20] = (truth[:20] + 1) % 4
    labels[20:30] = -1
    said = second_opinion(vectors, labels, 4)
    assert (said.best[:30] == truth[:30]).all()
    assert said.wrong[:20].min() > 0.5 > said.wrong[30:].max()
    assert (said.wrong[20:30] == 1).all() and (said.sure <= said.wrong + 1e-6).all()
    with pytest.raises(ValueError, match="no label is known"):
        second_opinion(vectors, np.full(400, -1), 4)


def test_a_second_opinion_does_not_know_the_own_label():
    vectors, truth = clouds(60, 2)
    changed = truth.copy()
    changed[7] = 1 - truth[7]
    one, two = second_opinion(vectors, truth, 2), second_opinion(vectors, changed, 2)
    assert one.wrong[7] < 0.5 < two.wrong[7] and two.best[7] == truth[7]


def seen_and_said(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and words of products that share what the products are, each in its own way."""
    draw = np.random.default_rng(4)
    inner = draw.normal(size=(count, 6))
    return tuple(
        (inner @ draw.normal(size=(6, width)) + 0.4 * draw.normal(size=(count, width))).astype(
            np.float16
        )
        for width in (40, 30)
    )


def test_swapped_pictures_are_found():
    pictures, said = seen_and_said(1000)
    assert (misfits(pictures, said, 0) >= 0.5).sum() < 5
    swapped = np.arange(1000)
    swapped[:40] = np.roll(swapped[:40], 1)
    doubted = np.flatnonzero(misfits(pictures[swapped], said, 0) >= 0.5)
    assert (doubted < 40).mean() > 0.9 and (doubted < 40).sum() > 30


def test_pictures_that_say_nothing_of_the_words_are_not_doubted():
    draw = np.random.default_rng(5)
    assert not misfits(draw.normal(size=(400, 20)), draw.normal(size=(400, 10)), 0).any()
    # Little is shared: the right ones, too, are often like strangers'.
    inner = draw.normal(size=(2000, 1))
    pictures, said = (inner + 1.5 * draw.normal(size=(2000, 8)) for _ in range(2))
    assert (misfits(pictures, said, 0) >= 0.5).mean() < 0.01
    assert not misfits(np.ones((FEWEST - 1, 3)), np.ones((FEWEST - 1, 2)), 0).any()
    for width in (0, 2):
        said = np.zeros((FEWEST, width))
        assert misfits(draw.normal(size=(FEWEST, 3)), said, 0).max() < 0.5


def test_wrong_pictures_are_named_with_their_product():
    pictures, titles = seen_and_said(600)
    kinds = np.where(pictures[:, 0] > 0, "round", "long")
    rows = pd.DataFrame(
        {
            "item_id": [f"i{at:03d}" for at in range(600)],
            "title": "a title",
            "image_key": [f"p{at:03d}" for at in range(600)],
            "kind": kinds,
        }
    )
    rows.loc[590:, "image_key"] = None
    shown = np.where(np.arange(600) < 590, np.arange(600), -1)
    shown[:20] = np.roll(shown[:20], 1)
    told = np.arange(600)
    found = misplaced(rows, (told, titles), (shown, pictures), ["kind"], PARAMS, 0)
    assert set(found["kind"]) == {MISPLACED}
    right = found["item_id"].isin([f"i{at:03d}" for at in range(20)])
    assert right.mean() > 0.8 and right.sum() > 12
    one = found[right].iloc[0]
    assert one["image_key"] == "p" + one["item_id"][1:]
    assert one["value"] == kinds[int(one["item_id"][1:])]


def test_what_is_not_said_is_as_in_the_mean_row():
    rows = pd.DataFrame({"shade": ["dark"] * 6 + ["light"] * 6 + ["rare", None]})
    titles = np.random.default_rng(6).normal(size=(14, 3)).astype(np.float16)
    said = words(rows, titles, np.arange(14) < 12, ["shade"], 5)
    assert not said[12:].any() and said[:12].any(axis=1).all()
    np.testing.assert_allclose(said.astype(float).mean(0), 0, atol=1e-2)


def test_the_nearest_earlier_twin_is_that_of_all_pairs():
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(200, 300)).astype(np.float32)
    vectors[50] = vectors[3] + 0.05 * draw.normal(size=300)
    vectors[60] = vectors[50] + 0.01 * draw.normal(size=300)
    place, cosine = nearest_twin(vectors, 0.98)
    seen = unit(vectors - vectors.mean(0))
    near = np.tril(seen @ seen.T, -1)
    expected = np.where(near.max(1) >= 0.98, near.argmax(1), -1)
    np.testing.assert_array_equal(place, expected)
    assert place[50] == 3 and place[60] == 50
    np.testing.assert_allclose(cosine[60], near[60, 50], atol=1e-4)
    assert nearest_twin(vectors[:0], 0.98)[0].shape == (0,)


def test_pictures_are_looked_at_as_a_whole():
    draw = np.random.default_rng(2)
    plain = look(png(np.full((40, 40, 3), 200, np.uint8)))
    busy = look(png(draw.integers(0, 256, (12, 40, 3), np.uint8)))
    assert plain.spread < 1 < busy.spread and (plain.side, busy.side) == (40, 12)
    with pytest.raises(Undecodable):
        look(b"no picture")


def test_findings_have_one_table_worth_most_first():
    vectors, truth = clouds(60, 2)
    shades = np.array(["dark", "light"], object)[truth]
    shades[0] = "light"
    shades[1] = None
    rows = pd.DataFrame(
        {
            "item_id": [f"i{at:02d}" for at in range(60)],
            "title": None,
            "image_key": [f"p{at // 2:02d}" for at in range(60)],
            "shade": shades,
        }
    )
    prints = {f"p{at:02d}": "a" if at < 2 else str(at) for at in range(30)}
    pictures = np.random.default_rng(3).normal(size=(30, 40))
    pictures[5] = pictures[4] + 0.001
    pictures[1] = pictures[0]
    items = rows.drop_duplicates("image_key").set_index("image_key")[["item_id", "title"]]
    looks = [look(png(np.full((8, 8, 3), 9, np.uint8))), look(png(np.eye(8, dtype=np.uint8) * 255))]
    aside = pd.DataFrame({"file": ["a.csv"], "row": [3], "rule": ["bytes decode"]})
    found = in_order(
        [
            opinions(rows, vectors, "shade", PARAMS),
            conspicuous(["p00", "p01"], looks, items, PARAMS),
            shared(rows, prints),
            twins(rows[::2], pictures, prints, PARAMS),
            damaged(aside),
        ],
        PARAMS,
    )
    assert set(found["kind"]) == {DISAGREES, PROPOSED, SAME, NEAR, BLANK, TINY, DAMAGED}
    assert found["worth"].is_monotonic_decreasing
    told = found[found["kind"] == DISAGREES].iloc[0]
    assert (told["item_id"], told["value"], told["proposed"]) == ("i00", "light", "dark")
    assert found[found["kind"] == PROPOSED].iloc[0]["proposed"] == "light"
    assert found[found["kind"] == NEAR].iloc[0][["item_id", "other"]].tolist() == ["i10", "i08"]
    assert set(found[found["kind"] == SAME]["other"]) >= {"i00", "i04"}
    assert list(in_order([], PARAMS).columns) == list(found.columns)


def test_rows_are_judged_among_those_with_the_same_sources():
    titles = (np.array([0, -1, 1, -1]), np.ones((2, 3), np.float16))
    pictures = (np.array([-1, 0, 1, -1]), np.ones((2, 5), np.float16))
    found = {source: (*place, seen.shape) for place, seen, source in situations(titles, pictures)}
    assert found == {
        "title": (0, (1, 3)),
        "picture": (1, (1, 5)),
        "title and picture": (2, (1, 8)),
    }


def shelf(packs: list[str], brands: list[str | None]) -> pd.DataFrame:
    items = [f"i{at:02d}" for at in range(len(packs))]
    return pd.DataFrame({"item_id": items, "title": None, "image_key": items, "brand": brands})


def test_a_value_that_stands_on_the_pack_is_proposed_for_an_empty_cell():
    packs = ["fresh ARLA milk", "arla 500ml", "Arla", "OATLY oat", "Oatly", "Skånemejerier", ""] * 2
    brands = ["Arla", "Arla", None, "Oatly", "Oatly", None, None] * 2
    rows = shelf(packs, brands)
    rows.loc[13, "brand"] = "Skanemejerier"
    told = of_packs(rows, pd.Series(packs), "brand", PARAMS)
    empty = told[told["value"].isna()]
    # One row alone has the last brand: nothing shows that it is one.
    assert empty["item_id"].tolist() == ["i02", "i09"]
    assert set(empty["proposed"]) == {"Arla"} and set(empty["source"]) == {"pack"}
    assert 0.7 < empty["confidence"].iloc[0] < 0.9
    assert set(empty["why"]) == {"the text on its pack has this value"}


def test_packs_of_like_words_tell_a_value_that_no_pack_has():
    packs = [f"{'skummad mjolk' if at % 2 else 'apelsin juice'} {at}" for at in range(40)]
    shades = ["Dairy" if at % 2 else "Drinks" for at in range(40)]
    told = of_packs(shelf(packs, [None, None, *shades[2:]]), pd.Series(packs), "brand", PARAMS)
    empty = told[told["value"].isna()]
    assert empty["proposed"].tolist() == ["Drinks", "Dairy"]
    assert set(empty["why"]) == {"packs with words like it have this value"}


def test_of_two_sources_the_surer_is_told_and_the_other_named():
    base = {"kind": PROPOSED, "field": "brand", "wrong": np.nan}
    found = pd.DataFrame(
        {
            **base,
            "kind": [PROPOSED, PROPOSED, DISAGREES],
            "item_id": ["a", "b", "c"],
            "value": [None, None, "x"],
            "proposed": ["Arla", "Arla", "Arla"],
            "confidence": [0.6, 0.8, 0.7],
            "source": "picture",
        }
    )
    told = pd.DataFrame(
        {
            **base,
            "item_id": ["a", "b", "c", "d", "e"],
            "value": [None, None, "x", None, "y"],
            "proposed": ["Arla", "Oatly", "Arla", "Oatly", "Oatly"],
            "confidence": 0.7,
            "source": "pack",
        }
    )
    whole = in_order([with_packs(found, told)], PARAMS).set_index("item_id")
    assert sorted(whole.index) == ["a", "b", "c", "d"]
    assert whole["source"].to_dict() == {"a": "pack", "b": "picture", "c": "picture", "d": "pack"}
    assert whole["also"].dropna().to_dict() == {"a": "picture 0.60", "c": "pack 0.70"}
    assert whole.loc["a", "confidence"] == 0.7 and whole.loc["b", "proposed"] == "Arla"
    assert whole.loc["c", "kind"] == DISAGREES
    alone = in_order([with_packs(in_order([], PARAMS), told)], PARAMS)
    assert alone["item_id"].tolist() == ["a", "b", "d"] and set(alone["kind"]) == {PROPOSED}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("MILK 500ML", "500 ml"),
        ("mjolk 1.5 l", "1,5L"),
        ("Créme fraiche ARLA", "Arla"),
        ("Arla Pro milk", "Arla Pro"),
        ("Karla", None),
        ("Arla with Alpo", None),
        ("1500 ml", None),
        ("好酒 牛奶", "牛奶"),
        ("XL", None),
    ],
)
def test_a_value_stands_in_a_text_by_its_words(text, value):
    values = ["500 ml", "1,5L", "Arla", "Arla Pro", "Alpo", "牛奶味", "牛奶", "XL"]
    place = written([text], values)[0]
    assert (values[place] if place >= 0 else None) == value


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=6), st.lists(st.text(max_size=12), max_size=6))
def test_what_is_written_is_a_value_whose_words_the_text_has(texts, values):
    for text, place in zip(texts, written(texts, values), strict=True):
        assert -1 <= place < len(values)
        if place >= 0:
            assert " ".join(words_of(values[place])) in " ".join(words_of(text))
    assert (written(values, []) == -1).all()


def test_agreement_is_low_until_it_is_seen():
    found = np.array([0, 0, 1, -1, 0])
    assert agreement(found, np.full(5, -1)) == 0.25
    assert agreement(found, np.array([0, 0, 0, 1, -1])) == pytest.approx(3 / 7)
