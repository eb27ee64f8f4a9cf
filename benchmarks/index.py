"""Exact search by look against an index: `python -m benchmarks.index`.

Made vectors, or with `--vectors F` those that an array of numpy (.npy) holds, evenly drawn: several sizes of galleries, each
asked for the nearest of some of its own rows. Ways, each in a process of its own on one processor: all vectors compared, in blocks;
our index of cells; and usearch's graph (HNSW), where that package is installed. The graph looks as far as it takes to find
as large a share of the nearest as ours must. Rows of the table: processor seconds to build, queries a second of a processor,
the share of the true nearest that was found, peak memory, and the processor seconds that it takes to build and to ask for
all vectors of the gallery, as `search` does twice before it answers anything.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

KINDS, SHELF = 100, 20
"""Made vectors are of so many kinds, and gather in shelves of so many."""
APART = (1.0, 1.3)
"""How far shelves are from their kind's middle, and vectors from their shelf's."""
FADING = 8
"""Directions in which made vectors spread most."""
BREADTHS = (64, 128, 256, 512, 1024, 2048)
"""How far a graph may look."""


def main(words: list[str]) -> int:
    """Measure each way at each size and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000, 200_000])
    parser.add_argument("--width", type=int, default=384, help="of made vectors")
    parser.add_argument("--vectors", type=Path, help="take these (n, d) instead")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--one", choices=tuple(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.one:
        print(json.dumps(_alone(asked)))
        return 0
    rows = []
    for size in asked.sizes:
        with tempfile.TemporaryDirectory() as scratch:
            for name in WAYS:
                if name == GRAPH and importlib.util.find_spec(GRAPH) is None:
                    print(f"{GRAPH} is not installed, and is left out", file=sys.stderr)
                    continue
                call = [*words, "--sizes", str(size), "--one", name, "--scratch", scratch]
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.index", *call],
                    stdout=subprocess.PIPE,
                    check=True,
                )
                rows.append((name, json.loads(done.stdout)))
    _print(rows, asked)
    return 0


def made(size: int, width: int) -> np.ndarray:
    """Vectors (size, width) of length 1 that gather in shelves, and these in kinds; some directions spread more than others."""
    from models.vision.families import unit

    draw = np.random.default_rng(0)
    spread = (1 / np.sqrt(1 + np.arange(width) / FADING)).astype(np.float32)

    def around(middles: np.ndarray, count: int, apart: float) -> np.ndarray:
        found = draw.standard_normal((count, width), np.float32)
        found *= apart
        found += middles[draw.integers(0, len(middles), count)]
        return found

    kinds = draw.standard_normal((KINDS, width), np.float32)
    shelves = around(kinds, max(size // SHELF, 1), APART[0])
    return unit(around(shelves, size, APART[1]) * spread)


def _gallery(asked: argparse.Namespace) -> np.ndarray:
    size = asked.sizes[0]
    if asked.vectors is None:
        return made(size, asked.width)
    whole = np.load(asked.vectors, mmap_mode="r")
    rows = np.linspace(0, len(whole) - 1, min(size, len(whole))).astype(int)
    return np.ascontiguousarray(whole[rows], np.float32)


def _alone(asked: argparse.Namespace) -> dict[str, float]:
    """Build and ask one way; its figures."""
    from threadpoolctl import threadpool_limits

    import models.vision.index  # noqa: F401 - so that its import is not measured

    threadpool_limits(1)
    gallery = _gallery(asked)
    draw = np.random.default_rng(1)
    queries = gallery[draw.choice(len(gallery), min(asked.queries, len(gallery)), replace=False)]
    started = time.process_time()
    search = WAYS[asked.one](gallery, asked.k)
    built = time.process_time()
    found = search(queries)
    ended = time.process_time()
    truth = asked.scratch / "exact.npy"
    if asked.one == EXACT:
        np.save(truth, found)
    true = np.load(truth)
    each = (ended - built) / len(queries)
    return {
        "size": len(gallery),
        "build": built - started,
        "a second": 1 / each,
        "recall": _recall(found, true),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "whole": built - started + each * len(gallery),
    }


def _recall(found: np.ndarray, true: np.ndarray) -> float:
    pairs = zip(found, true, strict=True)
    return float(np.mean([np.isin(own, its).mean() for its, own in pairs]))


Search = Callable[[np.ndarray], np.ndarray]


def _exact(gallery: np.ndarray, k: int) -> Search:
    from models.vision.index import nearest

    return lambda asked: np.concatenate([place for place, _ in nearest(asked, gallery, k)])


def _cells(gallery: np.ndarray, k: int) -> Search:
    from models.vision.index import Index

    index = Index.of(gallery, 1, k, 0)
    if index.cells is None:
        print("these vectors do not gather: our index compares all", file=sys.stderr)
    return lambda asked: np.concatenate([place for place, _ in index.nearest(asked, k)])


def _graph(gallery: np.ndarray, k: int) -> Search:
    from usearch.index import Index

    from models.vision.index import TRIED, WANTED

    index = Index(ndim=gallery.shape[1], metric="ip", dtype="f16", connectivity=16)
    index.add(np.arange(len(gallery)), gallery, threads=1)

    def search(asked: np.ndarray) -> np.ndarray:
        return index.search(asked, k, threads=1).keys.astype(np.int64)

    rows = np.random.default_rng(0).choice(len(gallery), min(TRIED, len(gallery)), replace=False)
    tried = gallery[rows]
    true = _exact(gallery, k)(tried)
    for breadth in BREADTHS:
        index.expansion_search = breadth
        if _recall(search(tried), true) >= WANTED:
            break
    return search


EXACT, CELLS, GRAPH = "exact", "cells", "usearch"
WAYS = {EXACT: _exact, CELLS: _cells, GRAPH: _graph}


def _print(rows: list[tuple[str, dict[str, float]]], asked: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"the {asked.k} nearest of many vectors, on one processor")
    for name in ("vectors", "what", "build, s", "queries/s", f"recall@{asked.k}", "MB", "all, s"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name, figures in rows:
        table.add_row(
            f"{figures['size']:,}",
            name,
            f"{figures['build']:.1f}",
            f"{figures['a second']:.0f}",
            f"{figures['recall']:.4f}",
            f"{figures['memory']:.0f}",
            f"{figures['whole']:.0f}",
        )
    Console(width=None if sys.stdout.isatty() else 110).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
