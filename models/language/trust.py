"""Reviews that should not be learned from or shown: copies, texts that repeat themselves, and bursts.

Nothing here reads what a review says of a product, so that blame alone flags nothing.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from models.encoders.ngrams import Grams, hashed_ngrams, mix, normal
from models.language.polarity import CJK
from models.language.settings import TrustSettings

COPIED, REPEATING, BURST = "copied", "repeats itself", "burst"
SHINGLES = Grams(words=0, low=6, high=6, buckets=2)
SIGNATURE, BANDS = 32, 8
"""Least hashes kept of a text, and the groups of them of which one must be equal for two texts to be compared."""
BLOCK = 4096


def flags(
    names: Sequence[str],
    texts: Sequence[str],
    items: Sequence[str | None],
    users: Sequence[str | None],
    seconds: np.ndarray,
    sides: np.ndarray,
    settings: TrustSettings,
) -> pd.DataFrame:
    """The flagged of n reviews: row, reason, because (words for a reader); a review may have several reasons.

    seconds (n,): when, NaN where that is not known. sides (n,): 1 for praise, -1 for blame, 0 unknown. Of copies the
    first stays: the earliest, else the least name.
    """
    parts = [
        _copies(names, texts, users, seconds, settings),
        _repeating(texts, settings),
        _bursts(items, users, seconds, sides, settings),
    ]
    found = pd.concat(parts, ignore_index=True)
    return found.sort_values(["row", "reason"], kind="stable").reset_index(drop=True)


def _frame(rows: Sequence[int] | np.ndarray, reason: str, because: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row": np.asarray(rows, dtype=np.int64),
            "reason": pd.Series([reason] * len(rows), dtype=object),
            "because": pd.Series(list(because), dtype=object),
        }
    )


def size_of(text: str) -> int:
    """Letters of a text, a sign of a script without spaces counted as three."""
    return len(text) + 2 * len(CJK.findall(text))


def _copies(
    names: Sequence[str],
    texts: Sequence[str],
    users: Sequence[str | None],
    seconds: np.ndarray,
    settings: TrustSettings,
) -> pd.DataFrame:
    """Copies of an earlier review. A short text is one only where the same user wrote it before.

    Candidates share a band of their least hashes (Broder, 1997, On the resemblance and containment of documents).
    """
    when = np.where(np.isnan(seconds), np.inf, seconds)
    order = np.lexsort((np.asarray(names, dtype=object).astype(str), when))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    plain = [normal(text) for text in texts]
    long = np.fromiter((size_of(text) >= settings.shortest for text in plain), bool, len(plain))
    first: dict[tuple[str, str], int] = {}
    copy_of = np.full(len(texts), -1, np.int64)
    for row in order.tolist():
        if plain[row]:
            own = "" if long[row] else str(users[row] or names[row])
            source = first.setdefault((plain[row], own), row)
            if source != row:
                copy_of[row] = source
    rest = np.flatnonzero(long & (copy_of < 0))
    pieces, sizes = [], []
    signatures = np.zeros((len(rest), SIGNATURE), np.uint64)
    with np.errstate(over="ignore"):
        seeds = mix(np.arange(1, SIGNATURE + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    for at in range(0, len(rest), BLOCK):
        part = rest[at : at + BLOCK]
        values, offsets = hashed_ngrams([plain[row] for row in part], SHINGLES)
        for local, (start, end) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
            mine = values[start:end]
            pieces.append(mine)
            sizes.append(len(mine))
            if len(mine):
                signatures[at + local] = mix(mine[:, None] ^ seeds[None]).min(0)
    width = SIGNATURE // BANDS
    for band in range(BANDS):
        keys = signatures[:, band * width : (band + 1) * width]
        _, of = np.unique(keys, axis=0, return_inverse=True)
        by_group = np.lexsort((place[rest], of.ravel()))
        groups = np.split(by_group, np.flatnonzero(np.diff(of.ravel()[by_group])) + 1)
        for group in groups:
            if len(group) < 2:
                continue
            source = int(group[0])
            for other in group[1:].tolist():
                if copy_of[rest[other]] >= 0 or not sizes[source] or not sizes[other]:
                    continue
                shared = len(np.intersect1d(pieces[source], pieces[other], assume_unique=True))
                if shared >= settings.alike * (sizes[source] + sizes[other] - shared):
                    copy_of[rest[other]] = rest[source]
    rows = np.flatnonzero(copy_of >= 0)
    return _frame(rows, COPIED, [f"the same as review {names[copy_of[row]]}" for row in rows])


def _repeating(texts: Sequence[str], settings: TrustSettings) -> pd.DataFrame:
    """Long texts with few different pieces: the same words again and again."""
    rows, because = [], []
    for row, text in enumerate(texts):
        plain = normal(text)
        if size_of(plain) < 3 * settings.shortest:
            continue
        units = re.findall(r"[^\W\d_\u2e80-\u9fff]+|[\u2e80-\u9fff]", plain)
        runs = list(zip(units, units[1:], units[2:], strict=False))
        if len(runs) >= 10 and len(set(runs)) < settings.repeated * len(runs):
            rows.append(row)
            because.append(f"{len(set(runs))} different of {len(runs)} runs of three words")
    return _frame(rows, REPEATING, because)


def _bursts(
    items: Sequence[str | None],
    users: Sequence[str | None],
    seconds: np.ndarray,
    sides: np.ndarray,
    settings: TrustSettings,
) -> pd.DataFrame:
    """Many reviews of one product in a short time, far above its pace, one-sided, by users without an earlier one.

    Flagged are those of the burst's side by newcomers.
    """
    item = np.asarray([one or "" for one in items], dtype=object)
    user = np.asarray([one or "" for one in users], dtype=object)
    known = np.flatnonzero(~np.isnan(seconds) & (item != "") & (user != "") & (sides != 0))
    table = pd.DataFrame(
        {"row": known, "item": item[known], "user": user[known], "at": seconds[known]}
    )
    table["side"] = sides[known]
    table["new"] = table["at"] <= table.groupby("user")["at"].transform("min")
    length = settings.days * 86400
    rows, because = [], []
    for name, group in table.sort_values(["item", "at", "row"]).groupby("item", sort=True):
        at = group["at"].to_numpy()
        if len(at) < settings.burst:
            continue
        side, new = group["side"].to_numpy(), group["new"].to_numpy()
        # How many of each side by newcomers lie in the window that ends at each review.
        begin = np.searchsorted(at, at - length, "left")
        span = max(at[-1] - at[0], length)
        for sign, word in ((1, "praise"), (-1, "blame")):
            mine = np.concatenate([[0], np.cumsum((side == sign) & new)])
            every = np.arange(1, len(at) + 1) - begin
            inside = mine[1:] - mine[begin]
            fresh = np.concatenate([[0], np.cumsum(new)])
            newcomers = fresh[1:] - fresh[begin]
            outside = len(at) - every
            pace = outside * length / max(span - length, length)
            hit = (
                (inside >= settings.burst)
                & (every >= settings.times * pace)
                & (inside >= settings.one_sided * newcomers)
                & (newcomers >= settings.newcomers * every)
            )
            flagged = np.zeros(len(at), bool)
            for end in np.flatnonzero(hit):
                flagged[begin[end] : end + 1] = True
            chosen = np.flatnonzero(flagged & (side == sign) & new)
            rows.extend(group["row"].to_numpy()[chosen].tolist())
            words = f"{len(chosen)} reviews by new users within {settings.days:g} days, all {word} of {name}"
            because.extend([words] * len(chosen))
    return _frame(rows, BURST, because)
