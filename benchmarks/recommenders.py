"""Recommenders side by side: `python -m benchmarks.recommenders FOLDER [--again] [--names auto,next-item,…]`.

FOLDER holds train.parquet and test.parquet (columns of the `recommend` verb), and may hold valid.parquet, items.parquet,
users.parquet and candidates.parquet; with the last, only candidates are listed and asked for (of ours; leave out `implicit`).
Every recommender by name, `auto`, and the models of the package `implicit` as a user would call them are run in a process of
their own, on the same rows and machine. All items are ranked. Without --again what a user had is neither listed nor asked for.
Prints one table: NDCG@10 with its interval by user bootstrap, what auto gains over it (paired), Recall@20, MAP@12, MRR,
coverage, seconds to fit, lists a second, peak memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from models import metrics

K = 20
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


def door(folder: Path, name: str, again: bool, out: Path, threads: int) -> dict[str, float]:
    """One recommender by the benchmark door; its figures."""
    words = [sys.executable, "-m", "pipelines.benchmark", "recommend", "--recommender", name]
    for flag in ("train", "valid", "items", "users", "candidates"):
        if (folder / f"{flag}.parquet").is_file():
            words += [f"--{flag}", str(folder / f"{flag}.parquet")]
    words += ["--k", str(K), "--threads", str(threads), "--out", str(out)]
    done = subprocess.run(
        [*words, *(["--allow-seen"] if again else [])], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def library(folder: Path, name: str, again: bool, out: Path, threads: int) -> dict[str, float]:
    """One model of `implicit` with its own settings, in a process of its own; the same figures."""
    words = [sys.executable, "-m", "benchmarks.recommenders", str(folder), "--one", name]
    words += ["--out", str(out), "--threads", str(threads), *(["--again"] if again else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


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
    paths = [folder / f"{part}.parquet" for part in ("train", "valid")]
    table = pd.concat(
        [pd.read_parquet(path, columns=["user", "item"]) for path in paths if path.is_file()]
    )
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
    print(
        json.dumps(
            {
                "fit_seconds": fitted - started,
                "predict_seconds": ended - fitted,
                "peak_memory_mb": memory,
            }
        )
    )


def judged(folder: Path, lists: Path, again: bool) -> tuple[dict[str, np.ndarray], float, int]:
    """Each metric by user of the test rows, the coverage, and the number of lists."""
    wanted = pd.read_parquet(folder / "test.parquet", columns=["user", "item"]).drop_duplicates()
    known = [
        pd.read_parquet(folder / f"{part}.parquet", columns=["user", "item"])
        for part in ("train", "valid")
        if (folder / f"{part}.parquet").is_file()
    ]
    had = pd.concat(known).drop_duplicates()
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
    return (
        {
            "NDCG@10": metrics.ndcg(table[:, :10], indptr, true),
            "Recall@20": metrics.recall(table, indptr, true),
            "MAP@12": metrics.average_precision(table[:, :12], indptr, true),
            "MRR": metrics.reciprocal_rank(table, indptr, true),
        },
        metrics.coverage(table, len(items)),
        found.user.nunique(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--again", action="store_true", help="what a user had may be listed")
    parser.add_argument(
        "--names", default=",".join([*OURS, *LIBRARY]), help="which, the first is compared to"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(asked.folder, asked.one, asked.again, asked.out, asked.threads)
        return
    table = Table(
        *(
            "recommender",
            "NDCG@10",
            "95 %",
            "first gains",
            "95 %",
            "Recall@20",
            "MAP@12",
            "MRR",
            "coverage",
            "fit s",
            "lists/s",
            "MB",
        )
    )
    first = None
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.names.split(","):
            out = Path(scratch) / "lists.parquet"
            run = library if name in LIBRARY else door
            figures = run(asked.folder, name, asked.again, out, asked.threads)
            values, covered, lists = judged(asked.folder, out, asked.again)
            whole = metrics.interval(values["NDCG@10"], asked.seed)
            first = values["NDCG@10"] if first is None else first
            gain = metrics.paired_interval(first, values["NDCG@10"], asked.seed)
            table.add_row(
                name,
                f"{whole.mean:.4f}",
                f"{whole.low:.4f}–{whole.high:.4f}",
                f"{gain.mean:+.4f}",
                f"{gain.low:+.4f}–{gain.high:+.4f}",
                *(f"{values[metric].mean():.4f}" for metric in ("Recall@20", "MAP@12", "MRR")),
                f"{covered:.3f}",
                f"{figures['fit_seconds']:.1f}",
                f"{lists / max(figures['predict_seconds'], 1e-9):.0f}",
                f"{figures['peak_memory_mb']:.0f}",
            )
            print(f"{name}: NDCG@10 {whole.mean:.4f}", file=sys.stderr, flush=True)
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
