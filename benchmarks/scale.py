"""What a shop's growth costs: `python -m benchmarks.scale [--events 1e6 1e7 1e8] [--folder /tmp/shops] [--peers pandas implicit] [--steps ingest]`.

For each size a shop is made from a seed, as `benchmarks.tables` makes it: over a year, a user for 20 events and a product
for 100, both with the skew of real shops (user number u of U has the share u^(1/2) of the events up to it, product number p
of P the share p^(1/3)). It goes through ingest, validation, split, the vectors of titles, and the training of the hybrid
recommender, by the stages' own commands with the profile `default`; then lists are made, by the code of the stage
`recommend` with that model as the champion, for `ASKED` users drawn from the seed: all users times all products are
another figure, which users a second tell. Beside them the same steps by pandas, Polars and Spark for the tables, and by
ALS of `implicit` (its own settings, 64 factors) for training and the lists of the same users. Every step is a process of its
own, with as many threads as there are processors here: where others use them, too, `--threads 1` costs less, since threads that
wait for one another do so at work.

Told are seconds by the clock and of the processor, the peak of memory, and what the step left on the disk; ours over
the peer's; and, of two sizes or more, the slope of each in the logarithms of size and cost. A figure is kept in
`figures.jsonl` of the folder as soon as it is there, and not measured again unless `--again` asks for it: what was
stopped is taken up, and other peers may be added later. A peer that is not installed, or fails, is told and left out; a
stage that fails ends the run.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks import recommender_peers, table_peers, tables
from benchmarks.tables import Cost, environment, measured
from pipelines.harness.state import State

SIZES = (1_000_000, 10_000_000, 100_000_000)
OF_PRODUCT, OF_USER = 100, 20
"""Events for each product, and for each user."""
ASKED = 10_000
"""Users who get lists."""
K = 20
SLOPE, GIGABYTES = 1.1, 4.0
"""Aims: the slope of a step's seconds against the events, and the peak of memory at any size."""
OURS = "stages"
STEPS = {
    **tables.STAGES,
    "texts": [("pipelines.text_features",)],
    "training": [("pipelines.hybrid",)],
    "lists": [("benchmarks.scale", "--lists")],
}
ABSENT = {
    **tables.ABSENT,
    "texts": """
from pipelines.image_features import image_features
runs = [(image_features, None)]
""",
    "training": """
from pipelines.review_features import review_features
runs = [(review_features, None)]
""",
}
ENCODERS = [sys.executable, "-m", "pipelines.ingest_encoders"]
FIGURES, EVENTS, WHO = "figures.jsonl", "events.parquet", "asked.parquet"
SPLIT = "data/split/recommending"
IMPLICIT = table_peers.Peer(
    module="implicit",
    cure="it is of the product's own environment",
    head="from benchmarks import scale\n",
    steps={
        "training": "scale.fit_library(files, out, threads)\n",
        "lists": "scale.list_by_library(files, out, threads)\n",
    },
)
PEERS = {**table_peers.PEERS, "implicit": IMPLICIT}


@dataclass(frozen=True)
class Figure:
    """What one step of one way cost at one size; `cost` None where it failed. bytes: what it left on the disk."""

    events: int
    way: str
    step: str
    threads: int
    cost: Cost | None
    bytes: int = 0
    why: str = ""

    @property
    def key(self) -> tuple[int, str, str]:
        return self.events, self.way, self.step

    def line(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def of(cls, line: str) -> "Figure":
        """From a line of `FIGURES`."""
        found = json.loads(line)
        return cls(**{**found, "cost": found["cost"] and Cost(**found["cost"])})


def known(folder: Path) -> dict[tuple[int, str, str], Figure]:
    """What was measured, the newest of each step."""
    path = folder / FIGURES
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return {figure.key: figure for figure in map(Figure.of, lines)}


def keep(folder: Path, figure: Figure) -> None:
    with (folder / FIGURES).open("a", encoding="utf-8") as file:
        file.write(figure.line() + "\n")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class How:
    """How steps run: memory for the tables of a stage, threads, and what encodes titles."""

    memory_gb: float
    threads: int
    encoder: str


def make(shop: Path, events: int, how: How) -> None:
    """The files of a shop and its project, where they are not there yet."""
    shop.mkdir(parents=True, exist_ok=True)
    if not (shop / EVENTS).is_file():
        say(f"{events:,} events: making the shop")
        with tempfile.TemporaryDirectory(dir=shop) as scratch:
            tables.make(Path(scratch), events, of_product=OF_PRODUCT, of_user=OF_USER)
            # The events last: where they are, all is there.
            for name in ("products.csv", EVENTS):
                (Path(scratch) / name).rename(shop / name)
    tables.project(shop, how.memory_gb, threads=how.threads, encoder=how.encoder)
    downloads = State(shop).downloads
    if not downloads.exists():
        # What was fetched once is not fetched for each size.
        downloads.parent.mkdir(parents=True, exist_ok=True)
        State(tables.ROOT).downloads.mkdir(parents=True, exist_ok=True)
        downloads.symlink_to(State(tables.ROOT).downloads)


def size_of(folders: Iterable[Path], since: float) -> int:
    """Bytes of the files that were written since then; one that has two names counts once."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            about = path.lstat()
            if path.is_file() and not path.is_symlink() and about.st_mtime >= since:
                found[about.st_ino] = about.st_size
    return sum(found.values())


def our_step(shop: Path, step: str) -> Callable[[], Cost]:
    """Prepare a step of the stages; what is returned runs and measures it."""
    calls = STEPS[step]
    for module, *name in calls:
        # What an earlier try had finished would make it seem cheaper.
        stage = "-".join([module.rpartition(".")[2].replace("_", "-"), *name])
        for home in (shop / "data", State(shop).shelf, State(shop).unfinished):
            shutil.rmtree(home / stage, ignore_errors=True)
    if step == "texts":
        measured(ENCODERS, shop, environment())
    if step in ABSENT:
        tables.lack(shop, step, ABSENT)
    if step == "lists":
        draw(shop)
    words = [[sys.executable, "-m", *call] for call in calls]
    return lambda: Cost.of([measured(one, shop, environment()) for one in words])


def peer_step(shop: Path, way: str, step: str, how: How) -> Callable[[], Cost]:
    """As `our_step`, of a peer."""
    # Not by its name: a folder `polars` in the project's would pass for a package.
    peer, out = PEERS[way], shop / f"by-{way}"
    out.mkdir(exist_ok=True)
    if step == "lists":
        draw(shop)
    program = peer.program(step, shop, out, how.threads, how.memory_gb)
    words = [str(interpreter(peer.module)), "-c", program]
    return lambda: measured(words, shop, environment())


def interpreter(module: str) -> Path | None:
    """A Python that has `module`: this one, or that of the peers' own environment; None where none has."""
    if importlib.util.find_spec(module) is not None:
        return Path(sys.executable)
    other = recommender_peers.python(recommender_peers.STATE.peers)
    words = [str(other), "-c", f"import {module}"]
    if other.exists() and not subprocess.run(words, capture_output=True).returncode:
        return other
    return None


def draw(shop: Path) -> None:
    """Write who gets lists: users with events in the training part, drawn from the seed."""
    if (shop / WHO).is_file():
        return
    from pipelines.history import event_files

    found: set[str] = set()
    for batch in event_files.batches([shop / SPLIT / "train.parquet"]):
        found.update(batch["user_id"].unique().to_pylist())
    users = np.array(sorted(found), dtype=object)
    drawn = np.random.default_rng(1).permutation(len(users))[:ASKED]
    pq.write_table(pa.table({"user_id": pa.array(users[np.sort(drawn)])}), shop / WHO)


def make_lists(shop: Path) -> None:
    """The lists of those who are asked for, by the code of the stage `recommend`, with the trained model as champion."""
    from models.kinds import load_model
    from pipelines import recommend
    from pipelines.harness.params import read_params, section
    from pipelines.history import event_files
    from pipelines.lists import files as list_files
    from pipelines.own_tables.exclusions import Exclusions

    document = read_params(shop)
    params = section(document, "recommend", recommend.RecommendParams)
    model = load_model(shop / "data/hybrid/bundle")
    products = pq.read_table(shop / SPLIT / "products.parquet").to_pandas()
    items = recommend.listable(model.items, products)
    events = event_files.batches(shop / SPLIT / f"{part}.parquet" for part in recommend.PARTS)
    known = event_files.written(events, items, State(shop).spill / "lists")
    open_to = recommend.open_shop(known, products, params, Exclusions())
    users = pq.read_table(shop / WHO)[0].to_pylist()
    threads = document["threads"]
    lists = recommend.make_lists(model, open_to, known, users, params, threads=threads)
    out = shop / "data/recommend"
    out.mkdir(exist_ok=True)
    list_files.write(lists, out / list_files.NAME)


def fit_library(shop: Path, out: Path, threads: int) -> None:
    """ALS of `implicit` on the training part that the hybrid recommender is trained on."""
    import scipy.sparse as sp
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    events = pq.read_table(shop / SPLIT / "train.parquet", columns=["user_id", "item_id"])
    user, users = pd.factorize(events["user_id"].to_pandas())
    item, items = pd.factorize(events["item_id"].to_pandas())
    ones = np.ones(len(events), dtype=np.float32)
    rows = sp.csr_matrix((ones, (user, item)), shape=(len(users), len(items)))
    model = AlternatingLeastSquares(factors=64, random_state=1, num_threads=threads)
    with threadpool_limits(1, "blas"):
        model.fit(rows, show_progress=False)
    model.save(out / "model.npz")
    sp.save_npz(out / "rows.npz", rows, compressed=False)
    for name, names in (("users", users), ("items", items)):
        pq.write_table(pa.table({"name": pa.array(names)}), out / f"{name}.parquet")


def list_by_library(shop: Path, out: Path, threads: int) -> None:
    """The lists of those who are asked for, by the model that `fit_library` left; what they had is left out."""
    import scipy.sparse as sp
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    model = AlternatingLeastSquares.load(out / "model.npz")
    model.num_threads = threads
    rows = sp.load_npz(out / "rows.npz")
    users, items = (
        pq.read_table(out / f"{name}.parquet")[0].to_pandas() for name in ("users", "items")
    )
    asked = pq.read_table(shop / WHO)[0].to_pandas()
    at = pd.Index(users).get_indexer(asked)
    with threadpool_limits(1, "blas"):
        lists, scores = model.recommend(at, rows[at], N=K)
    found = {
        "user_id": np.repeat(asked, K),
        "item_id": items.to_numpy()[np.maximum(lists, 0).ravel()],
        "rank": np.tile(np.arange(1, K + 1), len(asked)),
        "score": scores.ravel(),
    }
    pd.DataFrame(found)[lists.ravel() >= 0].to_parquet(out / "lists.parquet", index=False)


def measure(folder: Path, events: int, ways: Sequence[str], steps: Sequence[str], how: How) -> None:
    """These steps of these ways at one size, in their order, that are not known yet."""
    shop, there = folder / str(events), known(folder)
    plan = [
        (way, step)
        for way in ways
        for step in (STEPS if way == OURS else PEERS[way].steps)
        if step in steps
    ]
    left = [(way, step) for way, step in plan if (events, way, step) not in there]
    for way, step in plan:
        if (way, step) not in left:
            say(f"{events:,} events, {way}, {step}: measured before")
    if not left:
        return
    make(shop, events, how)
    failed = set()
    for way, step in left:
        if way in failed:
            continue
        if way == OURS:
            run = our_step(shop, step)
            figure = looked_at(shop, events, way, step, how.threads, run)
        else:
            try:
                run = peer_step(shop, way, step, how)
                figure = looked_at(shop, events, way, step, how.threads, run)
            except SystemExit as error:
                failed.add(way)
                words = str(error).strip().splitlines()
                figure = Figure(events, way, step, how.threads, None, why=words[-1][:200])
        keep(folder, figure)
        say(f"{events:,} events, {way}, {step}: {told(figure)}")


def looked_at(
    shop: Path, events: int, way: str, step: str, threads: int, run: Callable[[], Cost]
) -> Figure:
    """Run a step. Raises `SystemExit` where it fails."""
    homes = [shop / "data", State(shop).shelf] if way == OURS else [shop / f"by-{way}"]
    since = time.time() - 0.01
    cost = run()
    return Figure(events, way, step, threads, cost, size_of(homes, since))


def told(figure: Figure) -> str:
    if figure.cost is None:
        return f"failed: {figure.why}"
    cost = figure.cost
    words = f"{cost.seconds:.1f} s, {cost.cpu:.1f} of the processor, {cost.gigabytes:.2f} GB"
    return f"{words}, {figure.bytes / 1e6:.0f} MB left"


def slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Of the line of least squares through the logarithms.

    >>> round(slope([1, 10, 100], [2.0, 20.0, 200.0]), 3)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def of_size(figures: dict[tuple[int, str, str], Figure], events: int) -> Table:
    """What each step cost at one size, ours over the peer's."""
    table = Table(
        title=f"{events:,} events, {events // OF_USER:,} users, {events // OF_PRODUCT:,} products"
    )
    table.add_column("step")
    table.add_column("way")
    for name in ("threads", "clock s", "processor s", "peak GB", "MB left"):
        table.add_column(name, justify="right")
    for name in ("ours / it: clock", "processor"):
        table.add_column(name, justify="right")
    table.add_column("memory", justify="right")
    for step in STEPS:
        ours = figures.get((events, OURS, step))
        for way in (OURS, *PEERS):
            figure = figures.get((events, way, step))
            if figure is None:
                continue
            name = f"lists of {ASKED:,} users" if step == "lists" else step
            if figure.cost is None:
                table.add_row(name, way, "failed")
                continue
            cost, ratios = figure.cost, [""] * 3
            if way != OURS and ours and ours.cost:
                pairs = zip(_numbers(ours.cost), _numbers(cost), strict=True)
                ratios = [f"{one / max(other, 1e-9):.2f}" for one, other in pairs]
            shown = [f"{figure.threads}", f"{cost.seconds:.1f}", f"{cost.cpu:.1f}"]
            shown.append(f"{cost.gigabytes:.2f}")
            table.add_row(name, way, *shown, f"{figure.bytes / 1e6:.0f}", *ratios)
    return table


def _numbers(cost: Cost) -> tuple[float, float, float]:
    return cost.seconds, cost.cpu, cost.gigabytes


def slopes(figures: dict[tuple[int, str, str], Figure]) -> tuple[Table, list[str]]:
    """The slope of each step and way over all sizes, and what of ours is beyond the aims."""
    table = Table(title="Slope against the events, in logarithms")
    for name in ("step", "way", "events", "clock", "processor", "memory", "clock, last", "last"):
        table.add_column(name, justify="left" if name in ("step", "way") else "right")
    beyond = []
    for step in STEPS:
        for way in (OURS, *PEERS):
            found = sorted(
                (
                    one
                    for one in figures.values()
                    if (one.way, one.step) == (way, step) and one.cost
                ),
                key=lambda one: one.events,
            )
            if way == OURS:
                beyond += [
                    f"{step}: {one.cost.gigabytes:.2f} GB at {one.events:,} events"
                    for one in found
                    if one.cost and one.cost.gigabytes > GIGABYTES
                ]
            if len(found) < 2:
                continue
            sizes = [one.events for one in found]
            columns = list(zip(*(_numbers(one.cost) for one in found if one.cost), strict=True))
            whole = [slope(sizes, values) for values in columns]
            last = [slope(sizes[-2:], values[-2:]) for values in columns[:2]]
            shown = [f"{value:.2f}" for value in (*whole, *last)]
            table.add_row(
                step, way, " to ".join(f"{one:,}" for one in (sizes[0], sizes[-1])), *shown
            )
            if way == OURS and max(whole[:2]) > SLOPE:
                beyond.append(f"{step}: slope {max(whole[:2]):.2f}")
    return table, beyond


def tell(folder: Path, sizes: Sequence[int]) -> None:
    """The tables of all that is known of these sizes."""
    figures = {key: figure for key, figure in known(folder).items() if key[0] in sizes}
    console = Console(width=150)
    for events in sorted({key[0] for key in figures}):
        console.print(of_size(figures, events))
        lists = {
            way: figures[events, way, "lists"].cost
            for way in (OURS, "implicit")
            if (events, way, "lists") in figures
        }
        told = (f"{way} {ASKED / cost.seconds:,.0f}" for way, cost in lists.items() if cost)
        console.print(f"lists a second, with all that is read for them: {', '.join(told)}")
    table, beyond = slopes(figures)
    if table.row_count:
        console.print(table)
    aims = f"slope at most {SLOPE}, at most {GIGABYTES:g} GB"
    console.print(f"aims ({aims}): {'; '.join(beyond) if beyond else 'all of ours within'}")


def forget(folder: Path, sizes: Sequence[int], ways: Sequence[str], steps: Sequence[str]) -> None:
    """Take away what is known of these."""
    kept = [
        one.line()
        for one in known(folder).values()
        if one.events not in sizes or one.way not in ways or one.step not in steps
    ]
    (folder / FIGURES).write_text("".join(f"{line}\n" for line in kept), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--events", type=float, nargs="+", default=SIZES)
    parser.add_argument(
        "--folder", type=Path, help="where shops and figures are left (default: a scratch folder)"
    )
    parser.add_argument(
        "--memory-gb", type=float, default=1.5, help="what tables may take in a stage"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=list(PEERS), help="none: leave all out"
    )
    parser.add_argument(
        "--steps", nargs="+", choices=STEPS, default=list(STEPS), help="those before are needed"
    )
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each step"
    )
    parser.add_argument(
        "--encoder",
        choices=["package", "hashing"],
        default="package",
        help="of titles; training costs the same whichever it is",
    )
    parser.add_argument("--again", action="store_true", help="measure what was measured, too")
    parser.add_argument("--lists", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.lists:
        make_lists(Path.cwd())
        return
    how = How(given.memory_gb, given.threads, given.encoder)
    ways = [OURS]
    for way in given.peers:
        if interpreter(PEERS[way].module) is None:
            say(f"{way} is left out, for it is not installed: {PEERS[way].cure}")
        else:
            ways.append(way)
    with tempfile.TemporaryDirectory(prefix="vitrine-scale-") as scratch:
        folder = (given.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        sizes = [int(events) for events in given.events]
        if given.again:
            forget(folder, sizes, ways, given.steps)
        try:
            for events in sizes:
                measure(folder, events, ways, given.steps, how)
        finally:
            tell(folder, sizes)


if __name__ == "__main__":
    main()
