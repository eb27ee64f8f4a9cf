"""Recommenders side by side: `python -m benchmarks.recommenders FOLDER [--again] [--peers] [--names auto,next-item,…]`.

FOLDER holds train.parquet and test.parquet (columns of the `recommend` verb), and may hold valid.parquet, items.parquet,
users.parquet and candidates.parquet (`benchmarks.recommender_shops` makes such folders). Every recommender by name, `auto`,
and the models of the package `implicit` as a user would call them are run in a process of their own, on the same rows and
machine. With --peers, or where --names has them, models of RecTools and RecBole too, in the environment that
`python -m benchmarks.recommender_peers setup` makes. All items are ranked. Without --again what a user had is neither listed nor
asked for. With candidates.parquet only these are listed and asked for; other libraries know nothing of them and stay out.

Prints one table: NDCG@10 with its interval by user bootstrap, what the first gains over it (paired), Recall@20, HitRate@20,
MAP@12, MRR, novelty in bits, coverage, Gini's index of the places on lists, seconds to fit, lists a second, peak memory; and below it the first against the best of the others.
A second table tells NDCG@10 with its interval apart for users of few and of many known events.

With --newcomers 5, users of the test rows are newcomers, a fifth of all users at most: their last 5 events are all that is
known of them. `auto`, or each of --names, lists them twice, trained on these events and folded in: of two halves one is
folded in and the other trained on, then they change places, so that as much is known both times. How near the second comes
to the first is printed: NDCG@10 of both, ratio and paired gain with their intervals by user bootstrap. --rounds 3 does
so three times, with other users each time. The towers of the stages are known by name, too: collaborative, and hybrid,
whose content is what items.parquet tells.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.newcomers import TOWERS, Known, dealt, nearness, tower
from benchmarks.peer_models import MODELS as PEERS
from benchmarks.peer_models import SECONDS
from models import metrics

K = 20
BY_USER = ("Recall@20", "HitRate@20", "MAP@12", "MRR", "novelty")
"""Means that the table shows beside NDCG@10."""
LIBRARY = ("implicit: als", "implicit: bm25", "implicit: cosine", "implicit: tfidf")
OURS = (
    "auto",
    "popularity",
    "personal-popularity",
    "next-item",
    "item-cosine",
    "item-bm25",
    "rp3beta",
    "user-neighbours",
    "ease",
    "ials",
    "attribute-neighbours",
    "attribute-affinity",
    "sequential",
)
UNSOLD = ("auto", "attribute-neighbours", "attribute-popularity", "attribute-affinity")
"""With candidates: those that know items by what they are."""
HISTORIES = {"nothing known": 0, "1 to 5 events": 5, "6 to 20": 20, "more": 2**62}
"""Slices of users: name to how many of their events are known at most."""


@dataclass(frozen=True)
class Way:
    """How lists are made. again: what a user had may be listed. threads: of the processor. peers: their environment, where any is asked for.

    seconds: of the processor, in which a network of the peers looks for its best number of epochs.
    """

    again: bool
    threads: int
    profile: str
    peers: Path | None = None
    seconds: float = SECONDS


@dataclass(frozen=True)
class Judged:
    """Metrics by user of the test rows, all (U,). users: their names. covered: share of the items on any list.

    unequal: Gini's index of the items' places on lists.
    """

    users: pd.Index
    by_user: dict[str, np.ndarray]
    covered: float
    unequal: float
    lists: int

    @property
    def ndcg(self) -> np.ndarray:
        return self.by_user["NDCG@10"]


def door(folder: Path, name: str, way: Way, out: Path) -> dict[str, float]:
    """One recommender by the benchmark door; its figures."""
    words = [sys.executable, "-m", "pipelines.benchmark", "recommend", "--recommender", name]
    for flag in ("train", "valid", "items", "users", "candidates", "fold-in"):
        if (folder / f"{flag}.parquet").is_file():
            words += [f"--{flag}", str(folder / f"{flag}.parquet")]
    words += ["--k", str(K), "--threads", str(way.threads), "--profile", way.profile]
    return _ran([*words, "--out", str(out), *(["--allow-seen"] if way.again else [])], name)


def library(folder: Path, name: str, way: Way, out: Path) -> dict[str, float]:
    """One model of `implicit` with its own settings, in a process of its own; the same figures."""
    words = [sys.executable, "-m", "benchmarks.recommenders", str(folder), "--one", name]
    words += ["--out", str(out), "--threads", str(way.threads)]
    return _ran([*words, *(["--again"] if way.again else [])], name)


def one_tower(folder: Path, name: str, way: Way, out: Path) -> dict[str, float]:
    """A trained tower with the settings of its stage, in a process of its own; the same figures."""
    words = [sys.executable, "-m", "benchmarks.recommenders", str(folder), "--one", name]
    words += ["--out", str(out), "--threads", str(way.threads), "--profile", way.profile]
    return _ran([*words, *(["--again"] if way.again else [])], name)


def peer(folder: Path, name: str, way: Way, out: Path) -> dict[str, float]:
    """One model of RecTools or RecBole, in the environment of the peers; the same figures."""
    from benchmarks.recommender_peers import command

    assert way.peers is not None
    words = command(way.peers, folder, name, out, way.again, way.threads, way.seconds)
    return _ran(words, name)


def _ran(words: list[str], name: str) -> dict[str, float]:
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: see above; the command was {' '.join(words)}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def one(folder: Path, name: str, again: bool, out: Path, threads: int) -> None:
    """Fit a model of `implicit`, write its lists, print its figures."""
    import scipy.sparse as sp
    from implicit.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
    from threadpoolctl import threadpool_limits

    made = {
        "als": lambda: AlternatingLeastSquares(factors=64, random_state=1, num_threads=threads),
        "bm25": lambda: BM25Recommender(K=200, num_threads=threads),
        "cosine": lambda: CosineRecommender(K=200, num_threads=threads),
        "tfidf": lambda: TFIDFRecommender(K=200, num_threads=threads),
    }
    table = pd.concat(known(folder))
    user, users = pd.factorize(table.user, sort=True)
    item, items = pd.factorize(table.item, sort=True)
    ones = np.ones(len(table), dtype=np.float32)
    rows = sp.csr_matrix((ones, (user, item)), shape=(len(users), len(items)))
    with threadpool_limits(1, "blas"):
        started = time.perf_counter()
        model = made[name.split(": ")[1]]()
        model.fit(rows, show_progress=False)
        fitted = time.perf_counter()
        lists, scores = model.recommend(
            np.arange(len(users)), rows, N=K, filter_already_liked_items=not again
        )
        ended = time.perf_counter()
    found = pd.DataFrame(
        {
            "user": np.repeat(users, K),
            "item": items[np.maximum(lists, 0).ravel()],
            "rank": np.tile(np.arange(1, K + 1), len(users)),
            "score": scores.ravel(),
        }
    )
    found[(lists.ravel() >= 0) & (found.score > -1e30)].to_parquet(out, index=False)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {
        "fit_seconds": fitted - started,
        "predict_seconds": ended - fitted,
        "peak_memory_mb": memory,
    }
    print(json.dumps(figures))


def known(folder: Path) -> list[pd.DataFrame]:
    """Users and items of the events that a recommender sees."""
    paths = [folder / f"{part}.parquet" for part in ("train", "valid", "fold-in")]
    return [pd.read_parquet(path, columns=["user", "item"]) for path in paths if path.is_file()]


def judged(folder: Path, lists: Path, again: bool, some: pd.Index | None = None) -> Judged:
    """The lists against the test rows, of `some` users or of all who are asked for."""
    wanted = pd.read_parquet(folder / "test.parquet", columns=["user", "item"]).drop_duplicates()
    if some is not None:
        wanted = wanted[wanted.user.isin(some)]
    had = pd.concat(known(folder)).drop_duplicates()
    if not again:
        both = wanted.merge(had, how="left", on=["user", "item"], indicator=True)
        wanted = wanted[(both["_merge"] == "left_only").to_numpy()]
    if (folder / "candidates.parquet").is_file():
        open_to = pd.read_parquet(folder / "candidates.parquet", columns=["item"]).item
        wanted = wanted[wanted.item.isin(open_to)]
    found = pd.read_parquet(lists)
    items = pd.Index(pd.unique(pd.concat([had.item, wanted.item, found.item])))
    users = pd.Index(np.sort(wanted.user.unique()))
    truth = np.lexsort((items.get_indexer(wanted.item), users.get_indexer(wanted.user)))
    wanted = wanted.iloc[truth]
    indptr = np.searchsorted(users.get_indexer(wanted.user), np.arange(len(users) + 1))
    true = items.get_indexer(wanted.item)
    place = users.get_indexer(found.user)
    table = np.full((len(users), K), -1)
    inside = place >= 0
    table[place[inside], found["rank"].to_numpy()[inside] - 1] = items.get_indexer(found.item)[
        inside
    ]
    buyers = items.get_indexer(had.item)
    by_user = {
        "NDCG@10": metrics.ndcg(table[:, :10], indptr, true),
        "Recall@20": metrics.recall(table, indptr, true),
        "HitRate@20": metrics.hit_rate(table, indptr, true),
        "MAP@12": metrics.average_precision(table[:, :12], indptr, true),
        "MRR": metrics.reciprocal_rank(table, indptr, true),
        "novelty": metrics.novelty(table, np.bincount(buyers, minlength=len(items))),
    }
    covered, unequal = metrics.coverage(table, len(items)), metrics.gini(table, len(items))
    return Judged(users, by_user, covered, unequal, found.user.nunique())


def histories(folder: Path, users: pd.Index) -> dict[str, np.ndarray]:
    """Slices that are not empty, each (U,) booleans: users by how many of their events are known, valid rows among them."""
    counts = pd.Series(0, users)
    for part in ("train", "valid"):
        if (folder / f"{part}.parquet").is_file():
            rows = pd.read_parquet(folder / f"{part}.parquet", columns=["user"]).user
            counts += rows.value_counts().reindex(users, fill_value=0)
    upper = np.array(list(HISTORIES.values()))
    group = np.searchsorted(upper, counts.to_numpy())
    found = {name: group == number for number, name in enumerate(HISTORIES)}
    return {name: inside for name, inside in found.items() if inside.any()}


def told(found: metrics.Interval) -> str:
    """A mean with its interval."""
    return f"{found.mean:.4f} ({found.low:.4f}–{found.high:.4f})"


def against(first: np.ndarray, second: np.ndarray, seed: int) -> str:
    """The first against the second, both (U,): ratio of the means, and the paired difference with its interval."""
    gain = metrics.paired_interval(first, second, seed)
    ratio = first.mean() / max(float(second.mean()), 1e-12)
    return f"ratio {ratio:.3f}, {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"


def side_by_side(folder: Path, names: Sequence[str], way: Way, seed: int) -> None:
    """The table, and the first of the names against the best of the others."""
    table = Table()
    for column in ("recommender", "NDCG@10", "95 %", "first gains", "95 %"):
        table.add_column(column, no_wrap=True)
    for column in (*BY_USER, "coverage", "Gini", "fit s", "lists/s", "MB"):
        table.add_column(column, justify="right")
    slices = Table(title="NDCG@10 by what is known of the user")
    ndcg: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            out = Path(scratch) / "lists.parquet"
            run = library if name in LIBRARY else peer if name in PEERS else door
            figures = run(folder, name, way, out)
            found = judged(folder, out, way.again)
            ndcg[name] = found.ndcg
            groups = histories(folder, found.users)
            if not slices.columns:
                for column in ("recommender", *(f"{one}: {n.sum()}" for one, n in groups.items())):
                    slices.add_column(column, no_wrap=True)
            slices.add_row(
                name, *(told(metrics.interval(found.ndcg[n], seed)) for n in groups.values())
            )
            whole = metrics.interval(found.ndcg, seed)
            gain = metrics.paired_interval(ndcg[names[0]], found.ndcg, seed)
            row = (
                name,
                f"{whole.mean:.4f}",
                f"{whole.low:.4f}–{whole.high:.4f}",
                f"{gain.mean:+.4f}",
                f"{gain.low:+.4f}–{gain.high:+.4f}",
                *(f"{found.by_user[one].mean():.4f}" for one in BY_USER),
                f"{found.covered:.3f}",
                f"{found.unequal:.3f}",
                f"{figures['fit_seconds']:.1f}",
                f"{found.lists / max(figures['predict_seconds'], 1e-9):.0f}",
                f"{figures['peak_memory_mb']:.0f}",
            )
            table.add_row(*row)
            # A long run that is stopped has told what it knew.
            print(" | ".join(row), file=sys.stderr, flush=True)
    console = Console(width=180)
    console.print(table)
    print(f"{len(ndcg[names[0]])} users")
    console.print(slices)
    others = [name for name in names[1:] if name in ndcg]
    if others:
        best = max(others, key=lambda name: float(ndcg[name].mean()))
        gained = against(ndcg[names[0]], ndcg[best], seed)
        print(f"{names[0]} against {best}, the best of the others: {gained}")


def newcomers(folder: Path, names: Sequence[str], asked: argparse.Namespace, way: Way) -> None:
    """Recommenders' lists of users of whom few events are known: folded in, against trained on."""
    known = Known.of(folder)
    tested = pd.read_parquet(folder / "test.parquet", columns=["user"]).user
    groups = dealt(known.users(), tested, asked.newcomers, asked.seed, asked.rounds)
    table = Table(title=f"Newcomers with {asked.newcomers} events")
    for column in ("recommender", "users", "trained on", "folded in", "ratio", "gain"):
        table.add_column(column, no_wrap=True)
    for name in names:
        # By user: a newcomer's NDCG@10 of either kind comes from another fit.
        found: dict[str, list[pd.Series]] = {"trained": [], "folded": []}
        for (at, halves), side in product(enumerate(groups), range(2)):
            folded, trained = halves[side], halves[1 - side]
            words = [folder.resolve().name, name, asked.newcomers, asked.seed, at, side]
            words += [way.profile, *(["again"] if way.again else [])]
            kept = asked.kept and asked.kept / f"{'-'.join(map(str, words))}.parquet"
            if kept and kept.is_file():
                ndcg = pd.read_parquet(kept)["ndcg"]
            else:
                with tempfile.TemporaryDirectory() as scratch:
                    below = Path(scratch) / "folder"
                    known.write(trained, folded, asked.newcomers, below)
                    out = below / "lists.parquet"
                    (one_tower if name in TOWERS else door)(below, name, way, out)
                    mine = judged(below, out, way.again, folded.append(trained))
                ndcg = pd.Series(mine.ndcg, mine.users, name="ndcg")
            if kept and not kept.is_file():
                asked.kept.mkdir(parents=True, exist_ok=True)
                ndcg.to_frame().to_parquet(kept.with_suffix(".part"))
                kept.with_suffix(".part").replace(kept)
            apart = ndcg.index.isin(folded)
            found["folded"].append(ndcg[apart])
            found["trained"].append(ndcg[~apart])
        whole = pd.DataFrame({kind: pd.concat(parts) for kind, parts in found.items()})
        trained_on, folded_in = whole["trained"].to_numpy(), whole["folded"].to_numpy()
        ratio = nearness(folded_in, trained_on, asked.seed)
        gain = metrics.paired_interval(folded_in, trained_on, asked.seed)
        table.add_row(
            name,
            str(len(whole)),
            *(told(metrics.interval(one, asked.seed)) for one in (trained_on, folded_in)),
            f"{ratio.mean:.3f} ({ratio.low:.3f}–{ratio.high:.3f})",
            f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})",
        )
    Console(width=180).print(table)


def fitting(folder: Path, again: bool, peers: bool) -> list[str]:
    """Names of those that suit what the folder holds."""
    if (folder / "candidates.parquet").is_file():
        everyone: tuple[str, ...] = UNSOLD
    else:
        everyone = (*OURS, *LIBRARY, *(PEERS if peers else ()))
    gone = set() if again else {"personal-popularity"}
    if not (folder / "items.parquet").is_file():
        gone |= {name for name in everyone if name.startswith("attribute")}
    return [name for name in everyone if name not in gone]


def environment(named: Path | None) -> Path:
    """The environment of the peers. Raises `SystemExit` with the cure where it is not ready: before anything is measured."""
    from benchmarks import recommender_peers
    from pipelines.harness.errors import MissingResource

    found = recommender_peers.STATE.peers if named is None else named.resolve()
    try:
        recommender_peers.need(found)
    except MissingResource as error:
        raise SystemExit(str(error)) from None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--again", action="store_true", help="what a user had may be listed")
    parser.add_argument("--names", help="which, the first is compared to (default: all that fit)")
    parser.add_argument("--peers", action="store_true", help="models of RecTools and RecBole too")
    parser.add_argument("--environment", type=Path, help="of the peers (default: .vitrine/peers)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"of the processor, in which a network of the peers looks for its best number of epochs (default: {SECONDS})",
    )
    parser.add_argument("--newcomers", type=int, metavar="EVENTS", help="see above")
    parser.add_argument("--rounds", type=int, default=1, help="of newcomers (default: 1)")
    parser.add_argument(
        "--kept", type=Path, help="folder for what is done of newcomers, to go on from"
    )
    parser.add_argument("--profile", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one in TOWERS:
        made = tower(asked.folder, asked.one, asked.again, asked.profile, asked.threads, K)
        made.to_parquet(asked.out, index=False)
        print("{}")
        return
    if asked.one:
        one(asked.folder, asked.one, asked.again, asked.out, asked.threads)
        return
    way = Way(asked.again, asked.threads, asked.profile, seconds=asked.seconds)
    if asked.newcomers:
        names = (asked.names or "auto").split(",")
        newcomers(asked.folder, names, asked, way)
        return
    names = (
        asked.names.split(",") if asked.names else fitting(asked.folder, asked.again, asked.peers)
    )
    if asked.names and asked.peers:
        names += [name for name in PEERS if name not in names]
    peers = environment(asked.environment) if set(names) & set(PEERS) else None
    way = replace(way, peers=peers)
    side_by_side(asked.folder, names, way, asked.seed)


if __name__ == "__main__":
    main()
