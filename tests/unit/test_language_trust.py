"""Which reviews are flagged, and that a planted attack moves a shown share by little."""

import numpy as np

from models.language import trust
from models.language.aspects import wilson
from models.language.settings import TrustSettings

SETTINGS = TrustSettings(0.7, 60, 0.5, 7.0, 6, 5.0, 0.9, 0.8)
DAY = 86400.0


def flags(texts, items=None, users=None, days=None, sides=None):
    count = len(texts)
    return trust.flags(
        [f"r{at:05d}" for at in range(count)],
        texts,
        items or ["a"] * count,
        users or [None] * count,
        np.full(count, np.nan) if days is None else np.asarray(days) * DAY,
        np.zeros(count, int) if sides is None else np.asarray(sides),
        SETTINGS,
    )


LONG = "I bought this player for my kids last winter and it has worked every single day since then."


def test_a_copy_is_flagged_and_the_first_stays():
    near = LONG.replace("kids", "sons")
    found = flags(
        [LONG, "something else that is long enough to be told from chance, really", LONG, near]
    )
    assert found["row"].tolist() == [2, 3] and set(found["reason"]) == {trust.COPIED}
    assert "r00000" in found["because"][0]


def test_short_texts_are_alike_by_chance_unless_one_user_wrote_both():
    assert not len(flags(["good", "good", "很好", "很好"]))
    assert flags(["good", "good"], users=["u", "u"])["row"].tolist() == [1]


def test_the_same_review_ten_thousand_times():
    assert len(flags([LONG] * 10_000)) == 9_999


def test_a_text_that_repeats_itself():
    assert flags(["best phone ever made. " * 30])["reason"].tolist() == [trust.REPEATING]
    assert not len(flags(["", "🙂", LONG]))


def test_a_burst_of_one_side_by_new_users_is_flagged_but_a_busy_product_is_not():
    rng = np.random.default_rng(1)
    texts = [f"review number {at}" for at in range(130)]
    days = np.concatenate([rng.uniform(0, 700, 100), rng.uniform(300, 303, 30)])
    users = [f"u{at % 40}" for at in range(100)] + [f"new{at}" for at in range(30)]
    sides = np.concatenate([np.where(rng.random(100) < 0.8, 1, -1), np.full(30, -1)])
    found = flags(texts, users=users, days=days, sides=sides)
    burst = set(found[found["reason"] == trust.BURST]["row"])
    assert set(range(100, 130)) <= burst and len(burst) <= 33
    mixed = np.where(rng.random(130) < 0.5, 1, -1)
    assert not len(flags(texts, users=users, days=days, sides=mixed))


def test_a_planted_attack_of_five_per_cent_moves_no_share_by_more_than_a_hundredth():
    rng = np.random.default_rng(2)
    count, planted = 2000, 100
    items = [f"i{at % 10}" for at in range(count)] + ["i3"] * planted
    users = [f"u{rng.integers(400)}" for _ in range(count)] + [f"x{at}" for at in range(planted)]
    days = np.concatenate([rng.uniform(0, 1000, count), rng.uniform(500, 504, planted)])
    sides = np.concatenate([np.where(rng.random(count) < 0.8, 1, -1), np.full(planted, -1)])
    texts = [f"text {at} of a review" for at in range(count + planted)]
    bad = set(flags(texts, items, users, days, sides)["row"])
    kept = np.array([at not in bad for at in range(count + planted)])
    of = np.array(items) == "i3"

    def share(rows):
        return float((sides[rows] == 1).mean())

    before = share(of & (np.arange(count + planted) < count))
    assert abs(share(of & kept) - before) < 0.01 < abs(share(of) - before)
    assert wilson(np.array([1]), np.array([1]))[0][0] > 0.2
