"""What training learns: planted habits, closed-form vectors, and no look at what comes after a cut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.recommenders.events import Events, hash_order
from models.recommenders.factors import described, item_vectors, singular_vectors, turned
from models.recommenders.settings import TowerSettings

SECONDS = 86_400.0


def planted(users: int = 60, days: int = 90, seed: int = 0) -> tuple[Events, np.ndarray]:
    """Two tastes of 50 items each: a user buys of one taste, mostly items not bought before. The taste of each item."""
    rng = np.random.default_rng(seed)
    items = hash_order([f"item {at}" for at in range(100)])
    taste = np.arange(100) % 2
    user = np.repeat(np.arange(users), days // 3)
    day = np.tile(np.arange(0, days, 3), users) + rng.random(len(user))
    wanted = np.where(rng.random(len(user)) < 0.95, user % 2, 1 - user % 2)
    item = rng.integers(0, 50, len(user)) * 2 + wanted
    table = pd.DataFrame(
        {
            "user_id": [f"user {at:03}" for at in user],
            "item_id": np.asarray(items, dtype=object)[item],
            "timestamp": pd.to_datetime(day * SECONDS, unit="s", utc=True),
        }
    )
    return Events.from_frame(table, items), taste


def test_item_vectors_tell_tastes_apart() -> None:
    events, taste = planted()
    vectors = item_vectors(events.histories, np.ones(100, dtype=bool), 2, seed=1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit.T
    same = taste[:, None] == taste[None, :]
    assert alike[same].min() > alike[~same].max()


def test_items_that_are_not_active_have_no_vector() -> None:
    events, _ = planted()
    active = np.arange(100) < 10
    vectors = item_vectors(events.histories, active, 4, seed=1)
    assert (np.abs(vectors).sum(1) > 0).tolist() == active.tolist()
    none = item_vectors(events.histories, np.zeros(100, dtype=bool), 4, seed=1)
    assert none.shape == (100, 4) and not none.any()


def test_large_and_small_matrices_have_the_same_directions() -> None:
    import scipy.sparse as sp

    rng = np.random.default_rng(2)
    matrix = sp.csr_matrix(rng.poisson(0.3, (80, 50)).astype(float))
    few, many = singular_vectors(matrix, 3, seed=1), singular_vectors(matrix, 20, seed=1)
    for at in range(3):
        cosine = few[:, at] @ many[:, at] / np.linalg.norm(few[:, at]) / np.linalg.norm(many[:, at])
        assert abs(cosine) == pytest.approx(1.0, abs=1e-4)


def test_turned_undoes_a_rotation() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(40, 5))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    np.testing.assert_allclose(turned(vectors @ rotation, vectors), vectors, atol=1e-8)


def test_attributes_describe_an_item_by_the_mean_of_their_values() -> None:
    codes, sizes = np.array([[1, 0], [2, 1], [0, 0]]), (3, 2)
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    expected = [values[1] / 2, (values[2] + values[4]) / 2, [0, 0]]
    np.testing.assert_allclose(described(values, codes, sizes), expected)


def towers() -> TowerSettings:
    """Small ones, which no shop of these tests is too large for."""
    return TowerSettings(
        dim=4,
        hidden=8,
        epochs=20,
        batch=16,
        rate=0.05,
        decay=0.0,
        dropout=0.3,
        windows=2,
        window_days=20.0,
        buyers=2,
        drop=0.0,
        most_events=10_000,
        most_users=1_000,
        most_items=1_000,
    )


def test_training_learns_a_planted_taste_and_repeats_itself() -> None:
    from models.recommenders.collaborative import Collaborative
    from models.recommenders.training import train, windows

    events, taste = planted()
    settings = towers()
    for cut in windows(events, 2, 20.0):
        assert cut.histories.recency.min() >= 0
        assert len(cut.learners) == 60
    first, _, curves = train(Collaborative, events, None, True, settings, 5, seed=7)
    second, _, _ = train(Collaborative, events, None, True, settings, 5, seed=7)
    np.testing.assert_array_equal(first.vectors_out, second.vectors_out)
    assert curves["loss"][-1] < curves["loss"][0]
    newcomers = pd.DataFrame(
        {
            "user_id": ["even"] * 6 + ["odd"] * 6,
            "item_id": [*events.items[0:12:2], *events.items[1:12:2]],
            "timestamp": pd.to_datetime(events.now * SECONDS, unit="s", utc=True),
        }
    )
    lists = first.without_again().predict(newcomers)
    for name, wanted in (("even", 0), ("odd", 1)):
        listed = lists[lists.user_id == name].item_id
        assert (taste[[events.items.index(item) for item in listed]] == wanted).mean() >= 0.8


def test_a_large_shop_is_learnt_from_a_part_of_it() -> None:
    """Of 60 users 20 are heard, of whom 12 teach at a cut, and half of the items are in the loss."""
    from models.recommenders.collaborative import Collaborative
    from models.recommenders.training import train, windows

    events, taste = planted()
    settings = replace(
        towers(),
        epochs=40,
        batch=8,
        most_events=len(events.user) // 3,
        most_users=12,
        most_items=50,
    )
    some = events.drawn(settings.most_events, 7)
    assert 15 <= len(some.users) <= 20 and some.items == events.items
    for cut, whole in zip(windows(some, 2, 20.0, events), windows(events, 2, 20.0), strict=True):
        np.testing.assert_array_equal(cut.popular, whole.popular)
        few = cut.taught(12, 1)
        assert len(few.histories) == len(few.learners) == 12
        assert few.bought.shape == few.histories.item.shape == few.features[:, 0].shape
        assert cut.taught(1000, 1).histories.item.tolist() == cut.histories.item.tolist()
    model, _, _ = train(Collaborative, events, None, True, settings, 5, seed=7)
    assert model.known is events
    mine = events.histories
    scores = model.without_again().scores(mine) - model.popular @ model.weights["popular"]
    own = np.arange(60)[:, None] % 2 == taste[None, :]
    assert (scores[own].mean() - scores[~own].mean()) / scores.std() > 0.5


def test_mapped_events_and_small_blocks_give_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa

    from models.bundle import save
    from models.recommenders.collaborative import Collaborative
    from models.recommenders.training import train
    from pipelines.history.event_files import written

    events, _ = planted()
    frame = pd.DataFrame(
        {
            "user_id": np.asarray(events.users, dtype=object)[events.user],
            "item_id": np.asarray(events.items, dtype=object)[events.item],
            "timestamp": pd.to_datetime(events.day * SECONDS, unit="s", utc=True),
        }
    )
    settings = replace(towers(), epochs=3, most_events=len(events.user) // 2)
    hashes = []
    for name, block in (("memory", 1 << 20), ("files", 100)):
        monkeypatch.setattr("models.recommenders.columns.BLOCK_EVENTS", block)
        known = Events.from_frame(frame, events.items)
        if name == "files":
            known = written(
                pa.Table.from_pandas(frame).to_batches(), events.items, tmp_path
            ).events()
        model, _, _ = train(Collaborative, known, None, True, settings, 5, seed=7)
        hashes.append(save(model.to_bundle(), tmp_path / name))
    assert hashes[0] == hashes[1]


def test_reviews_tell_what_was_written_before_a_day() -> None:
    from models.recommenders.told import Told

    vectors = np.array([[3.0, 0.0], [1.0, 1.0], [9.0, 9.0]], dtype=np.float32)
    told = Told(np.array([2, 2, 0]), np.array([1.0, 2.0, 5.0]), vectors)
    assert told.until(1.0, 3).tolist() == [[0, 0], [0, 0], [0, 0]]
    assert told.until(2.0, 3).tolist() == [[0, 0], [0, 0], [1.5, 0]]
    assert told.until(5.0, 3)[2] == pytest.approx(np.array([4, 1]) / 3)
    assert told.until(9.0, 3)[0].tolist() == [4.5, 4.5]


def test_dropping_the_one_source_that_tells_the_taste_costs() -> None:
    """Reviews and picture tell the planted taste, the title nothing; no behaviour is given."""
    from models.recommenders.content import Content as ByContent
    from models.recommenders.told import Told
    from models.recommenders.training import Content, train

    events, taste = planted()
    rng = np.random.default_rng(5)
    told = np.column_stack([2.0 * taste - 1.0, rng.normal(size=100)]).astype(np.float32)
    early = Told(np.arange(100), np.zeros(100), told)
    late = Told(np.arange(100), np.full(100, events.now + 1.0), told)
    noise = rng.normal(size=(100, 4)).astype(np.float32)
    settings = replace(towers(), epochs=10)
    mine = events.histories
    own = np.arange(60)[:, None] % 2 == taste[None, :]

    def apart(model: object) -> float:
        """How far a user's own taste is scored above the other, in deviations."""
        scores = model.without_again().scores(mine) - model.popular @ model.weights["popular"]  # type: ignore[attr-defined]
        return float((scores[own].mean() - scores[~own].mean()) / scores.std())

    def fitted(content: Content) -> tuple[float, dict[str, float]]:
        model, without, _ = train(ByContent, events, content, False, settings, 5, seed=7)
        return apart(model), {name: apart(other) for name, other in without.items()}

    none = np.zeros((100, 0), np.int64)
    whole, without = fitted(Content({"text": noise}, none, (), early))
    assert whole > 1.5 and without["reviews"] < 0.5 < without["text"]
    whole, without = fitted(Content({"text": noise, "picture": told}, none, ()))
    assert whole > 1.5 and without["picture"] < 0.5 < without["text"]
    unheard, _ = fitted(Content({"text": noise}, none, (), late))
    assert unheard < 0.5


def test_too_short_a_past_is_refused() -> None:
    from models.recommenders.training import windows

    events, _ = planted(days=9)
    with pytest.raises(ValueError, match="less than two windows"):
        list(windows(events, 3, 28.0))
