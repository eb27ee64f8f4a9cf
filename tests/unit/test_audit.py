"""The catalogue's audit: second opinions, nearly the same pictures, blank and tiny ones."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models.catalogue.conspicuous import look
from models.catalogue.opinion import second_opinion
from models.catalogue.twins import nearest_twin
from models.encoders.decoding import Undecodable
from models.vision.families import unit
from pipelines.audit import (
    BLANK,
    DAMAGED,
    DISAGREES,
    KINDS,
    NEAR,
    PROPOSED,
    SAME,
    TINY,
    AuditParams,
    conspicuous,
    damaged,
    in_order,
    opinions,
    shared,
    situations,
    twins,
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
    found = {tuple(place): seen.shape for place, seen in situations(titles, pictures)}
    assert found == {(0,): (1, 3), (1,): (1, 5), (2,): (1, 8)}
