"""Users of whom a few events are known, once trained on and once folded in: who they are, and their folders.

Of two halves of them one is trained on and the other folded in, then they change places. So both models know as many
events: left out all at once, newcomers would miss the others of them, too.

`python -m benchmarks.recommenders FOLDER --newcomers 5` lists and judges them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from models.metrics import Interval, bootstrap_means

EVENTS = ("train", "valid")
"""Tables of what is known of users."""
BESIDE = ("test", "items", "users", "candidates")
"""Tables that are the same whoever is new."""
SHARE, MOST = 0.2, 1000
"""Newcomers of a round: so many of all users at most, so that enough is left to learn from, and so many in all."""
TOWERS = ("collaborative", "hybrid")
"""Recommenders that no other process fits: behaviour alone, and with the attributes of items.parquet."""


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The events of a folder, by part."""
    paths = {part: folder / f"{part}.parquet" for part in EVENTS}
    return {part: pd.read_parquet(path) for part, path in paths.items() if path.is_file()}


def order(parts: Mapping[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """How many events of the same user came after each row, (rows,) by part; ties are broken by chance.

    Where only the order is known, the parts follow one another.
    """
    whole = pd.concat([table.assign(part=at) for at, table in enumerate(parts.values())])
    by = ["ts"] if "ts" in whole.columns else ["part"]
    by += ["pos"] if "pos" in whole.columns else []
    mixed = whole.reset_index(drop=True).sample(frac=1, random_state=1)
    # Stable, column by column from the last: pandas sorts by several columns at once without that promise.
    for column in reversed(by):
        mixed = mixed.sort_values(column, kind="stable")
    later = mixed.groupby("user").cumcount(ascending=False).sort_index().to_numpy()
    ends = np.cumsum([len(table) for table in parts.values()])
    return dict(zip(parts, np.split(later, ends[:-1]), strict=True))


def dealt(
    known: pd.Series, asked: pd.Series, events: int, seed: int, rounds: int
) -> list[tuple[pd.Index, pd.Index]]:
    """The newcomers of each round in two halves, nobody twice: users of `asked` of whom at least so many events are `known`.

    known, asked: the user of each row. Fewer than `rounds` where there are too few users. Raises `ValueError` where there
    are less than two.
    """
    counts = known.value_counts()
    able = np.sort(np.intersect1d(counts.index[counts >= events].to_numpy(), asked.unique()))
    if len(able) < 2:
        raise ValueError(f"{len(able)} users of the test rows have {events} events: two are needed")
    size = max(min(int(len(counts) * SHARE), MOST), 2)
    mixed = np.random.default_rng(seed).permutation(able)
    groups = [mixed[at * size : (at + 1) * size] for at in range(rounds)]
    halves = [(pd.Index(group[::2]), pd.Index(group[1::2])) for group in groups]
    return [(one, other) for one, other in halves if len(other)]


@dataclass(frozen=True)
class Known:
    """The events of a folder, by part, and how many of the same user's came later, likewise."""

    folder: Path
    parts: Mapping[str, pd.DataFrame]
    later: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, folder: Path) -> "Known":
        parts = tables(folder)
        return cls(folder, parts, order(parts))

    def users(self) -> pd.Series:
        """The user of each event."""
        return pd.concat([table["user"] for table in self.parts.values()])

    def write(self, trained: pd.Index, folded: pd.Index, events: int, below: Path) -> None:
        """A folder that knows all events of the others, and the last `events` of each newcomer: of those in `folded` apart
        from what is trained on."""
        below.mkdir(parents=True)
        for name in BESIDE:
            path = self.folder / f"{name}.parquet"
            if path.is_file():
                (below / path.name).symlink_to(path.resolve())
        handfuls = []
        for part, table in self.parts.items():
            few = self.later[part] < events
            apart, new = (table["user"].isin(some).to_numpy() for some in (folded, trained))
            table[~apart & (few | ~new)].to_parquet(below / f"{part}.parquet", index=False)
            handfuls.append(table[apart & few])
        pd.concat(handfuls).to_parquet(below / "fold-in.parquet", index=False)


def nearness(folded: np.ndarray, trained: np.ndarray, seed: int) -> Interval:
    """How much of the second mean the first is, with its 95 % interval over users: of both are the same drawn. Both (U,).

    Raises `ValueError` where no user ever has a hit.
    """
    means = bootstrap_means(np.column_stack([folded, trained]), seed)
    if not trained.mean() > 0:
        raise ValueError("trained on, no newcomer has a hit: there is nothing to come near to")
    low, high = np.quantile(means[:, 0] / np.maximum(means[:, 1], 1e-12), [0.025, 0.975])
    return Interval(float(folded.mean() / trained.mean()), float(low), float(high))


def tower(folder: Path, name: str, again: bool, profile: str, threads: int, k: int) -> pd.DataFrame:
    """Lists of `k` of one of `TOWERS` for everyone in a folder: user, item, rank, score.

    The towers count fully: the stage lessens their share where validation rows say so.
    """
    from models.recommenders.base import recommend
    from models.recommenders.collaborative import Collaborative
    from models.recommenders.hybrid import Hybrid
    from models.recommenders.training import Content, train
    from pipelines.door.shop import read_shop
    from pipelines.door.verb import Asked
    from pipelines.harness.params import read_params
    from pipelines.training.recommending import TowerParams

    root = Path.cwd()
    flags = ("train", "valid", "items", "fold-in", "candidates")
    paths = {flag: folder / f"{flag}.parquet" for flag in flags}
    files = {flag: path for flag, path in paths.items() if path.is_file()}
    seed = read_params(root)["seed"]
    asked = Asked(files, {}, root, profile, seed, threads, lambda text: None)
    params = asked.params(name, TowerParams)
    shop = read_shop(asked, params.event_weights)
    content = None
    if name == "hybrid":
        codes = shop.catalogue.codes.astype(np.int64) + 1
        content = Content({}, codes, tuple(size + 1 for size in shop.catalogue.sizes))
    towers = replace(params.towers, window_days=max(params.towers.window_days, shop.protocol.days))
    kind = Hybrid if name == "hybrid" else Collaborative
    model, _, _ = train(kind, shop.events, content, True, towers, k, seed)
    lists, scores = recommend(model, shop.listed.histories, k, shop.allowed, again=again)
    row, place = np.nonzero(lists >= 0)
    user, item = (np.asarray(ids, dtype=object) for ids in (shop.listed.users, model.items))
    found = pd.DataFrame({"user": user[row], "item": item[lists[row, place]], "rank": place + 1})
    types = pd.read_parquet(paths["train"], columns=["user", "item"]).dtypes
    return found.astype(types.to_dict()).assign(score=scores[row, place])
