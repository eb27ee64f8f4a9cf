"""What the stages of the recommenders share: reading events and content, fitting, judging on validation."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.bundle import save
from models.metrics import paired_interval
from models.recommenders.base import Recommender
from models.recommenders.baselines import Popularity
from models.recommenders.columns import parts, release
from models.recommenders.events import Events, days_of, hash_order
from models.recommenders.settings import TowerSettings
from models.recommenders.told import Told
from models.recommenders.training import Content, train
from models.recommenders.two_tower import TwoTower
from pipelines.artefacts.vectors import map_vectors, read_vectors
from pipelines.capabilities import recommending as judge
from pipelines.harness import BadData, Run
from pipelines.history import event_files
from pipelines.tables import SIDE, Images, Products, Reviews
from pipelines.training.judging import judge_on_validation
from pipelines.training.trained import TrainedParams

TASK = "split/recommending"
SCALES = (0.1, 0.25, 0.5, 0.75, 1.0)
NOT_ATTRIBUTES = (
    Products.ITEM,
    Products.TITLE,
    Products.DESCRIPTION,
    Products.PRICE,
    Products.CURRENCY,
    Products.AVAILABLE,
    Products.IMAGE,
)
SHARED = 5
"""Products with which a value must be shared to tell something."""
BLOCK_ITEMS = 1 << 15
"""Vectors of items that are shortened at a time."""
DENSE_WIDTH = 64
"""Numbers that are kept of the text's or the picture's vector."""


class TowerParams(TrainedParams):
    """k: items on a list. event_weights: how much an event of each kind says. Where the split's window is longer than `towers.window_days`, training's is that long too."""

    k: int
    event_weights: dict[str, float]
    towers: TowerSettings


def known_events(run: Run, names: Sequence[str], now: float, kinds: Mapping[str, float]) -> Events:
    """The events of the parts of the split of these names, over the whole catalogue, as files of the run's own.

    now: days since 1970 that ages count from. kinds: how much an event of each kind says.
    """
    split = run.input(TASK)
    products = pq.read_table(split / "products.parquet", columns=[Products.ITEM])
    items = hash_order(products[0].to_pylist())
    found = event_files.batches(split / f"{part}.parquet" for part in names)
    spill = run.state.spill / run.name
    # What a run that was killed had frozen to judge by.
    shutil.rmtree(spill, ignore_errors=True)
    return event_files.written(found, items, spill).events(kinds, now)


def training_events(run: Run, kinds: Mapping[str, float]) -> tuple[Events, float]:
    """The training part as of its end; and how many days the validation after it has."""
    cut = json.loads((run.input(TASK) / "cut.json").read_text("utf-8"))
    now, end = judge.moment(cut["valid_from"]), judge.moment(cut["test_from"])
    return known_events(run, ("train",), now, kinds), end - now


def fit_towers(
    run: Run, kind: type[TwoTower], params: TowerParams, content: Content | None, behaviour: bool
) -> TwoTower:
    """Train a recommender, choose how much its towers count on validation, judge it, and write its bundle."""
    events, horizon = training_events(run, params.event_weights)
    towers = replace(params.towers, window_days=max(params.towers.window_days, horizon))
    run.rows_in = len(events.user)
    try:
        model, ablated, curves = train(
            kind,
            events,
            content,
            behaviour,
            towers,
            params.k,
            run.seed,
            lambda done, what: run.advance(0.1 + 0.6 * done, what),
            params.devices,
        )
    except ValueError as error:
        raise BadData(
            f"interactions: {error}; bring more days or lower towers.window_days"
        ) from None
    for name, values in curves.items():
        run.tracker.curve(name, values)
    run.advance(0.75, "choosing on validation")
    del content
    with tempfile.TemporaryDirectory(dir=run.state.spill / run.name) as scratch:
        rows = Path(scratch) / "rows"
        judge.freeze(run.input(TASK), "valid", rows)
        model = chosen(run, model, ablated, rows)
        for name, value in judge.against_own(model, rows, run.seed).items():
            run.measure(name, value)
    save(model.to_bundle(), run.output("bundle"))
    run.advance(0.9, "judging on validation")
    table = judge_on_validation(run, judge, "recommending", model)
    run.rows_out = len(table)
    return model


def chosen(run: Run, model: TwoTower, ablated: dict[str, TwoTower], rows: Path) -> TwoTower:
    """`model` with the share of its towers that is best on the frozen `rows`; tells what each of its parts is worth there.

    ablated: the model without each of its sources. They go one by one: of a large catalogue each is as large as the model.
    """
    history, users, truth = judge.asked(rows, model.items, model.kinds)

    def quality(candidate: TwoTower) -> np.ndarray:
        return judge.listed(candidate, history, users, truth)

    found = {scale: quality(model.scaled(scale)) for scale in SCALES}
    best = max(SCALES, key=lambda scale: float(found[scale].mean()))
    run.measure("towers_share", best)
    model = model.scaled(best)
    shares = {}

    def worth(name: str, lesser: TwoTower) -> None:
        left = quality(lesser)
        run.measure(f"without {name}", float(left.mean()))
        gain = paired_interval(found[best], left, run.seed)
        for figure, value in gain.named(f"worth of {name}").items():
            run.measure(figure, value)

    for name in list(ablated):
        lesser = ablated.pop(name).scaled(best)
        worth(name, lesser)
        shares[f"without {name}"] = judge.discovered(lesser, history, users, truth)
        del lesser
    worth("buying again", model.without_again())
    listers: dict[str, Recommender] = {
        "ours": model,
        "popularity": judge.tuned(Popularity.fit, history),
    }
    for name, lister in listers.items():
        shares[name] = judge.discovered(lister, history, users, truth)
    for name, values in shares.items():
        if len(values):
            run.measure(f"new to the user/{name}", float(values.mean()))
    return model


def item_content(run: Run) -> Content:
    """Text and picture vectors, shortened, hashed attribute values and reviews of all items, in `hash_order`.

    Without pictures or reviews where the shop has none; raises `Absent` where it has no products.
    """
    products = pq.read_table(run.input(f"{TASK}/products.parquet")).to_pandas()
    items = hash_order(products[Products.ITEM].tolist())
    products = products.set_index(Products.ITEM).reindex(items)
    titles = run.input("text-features/products.parquet")
    spill = run.state.spill / run.name
    dense = {"text": _dense(titles, Products.ITEM, pd.Series(items), spill)}
    if Products.IMAGE in products and products[Products.IMAGE].notna().any():
        path = run.optional("image-features/images.parquet")
        if path:
            dense["picture"] = _dense(path, Images.IMAGE, products[Products.IMAGE], spill)
    columns = [
        name
        for name in products.columns
        if name not in NOT_ATTRIBUTES and pd.api.types.is_string_dtype(products[name])
    ]
    codes = [_codes(products[name]) for name in columns]
    stacked = np.stack(codes, axis=1) if codes else np.zeros((len(items), 0), np.int64)
    sizes = tuple(int(code.max(initial=0)) + 1 for code in codes)
    reviews = run.optional("review-features/reviews.parquet")
    return Content(dense, stacked, sizes, _told(reviews, items) if reviews else None)


def _told(path: Path, items: list[str]) -> Told:
    """What the reviews of a table of `review-features` tell of `items`: shortened vectors, and praise or blame."""
    table = pq.read_table(path, columns=[Reviews.ITEM, Reviews.TIME, SIDE])
    _, vectors, _ = read_vectors(path, Reviews.REVIEW)
    side = table[SIDE].to_numpy().astype(np.float32)[:, None]
    found = Told(
        item=pd.Index(items).get_indexer(table[Reviews.ITEM].to_pandas()),
        day=days_of(table[Reviews.TIME].to_numpy()),
        vectors=np.concatenate([_shortened(vectors), side], axis=1),
    )
    return replace(found, vectors=_of_length_one(found.vectors, found.until(np.inf, len(items))))


def _dense(path: Path, key: str, wanted: pd.Series, spill: Path) -> np.ndarray:
    """The vectors of what is `wanted`, shortened, scaled to length near 1; zeros where there is none.

    spill: a folder for what may be larger than memory.
    """
    keys, vectors = map_vectors(path, key, spill)
    short = _shortened(vectors)
    short = _of_length_one(short, short)
    place = pd.Index(keys.to_pandas()).get_indexer(wanted)
    found = np.zeros((len(place), short.shape[1]), np.float32)
    found[place >= 0] = short[place[place >= 0]]
    return found


def _shortened(vectors: np.ndarray) -> np.ndarray:
    """The first principal directions of vectors (n, d), (n, at most `DENSE_WIDTH`) float32; vectors of zeros stay."""
    blocks = list(parts(len(vectors), BLOCK_ITEMS))
    sums, count = [], 0
    for part in blocks:
        there = vectors[part][vectors[part].any(1)].astype(np.float32)
        sums.append(there.sum(0))
        count += len(there)
        release(vectors)
    mean = np.sum(sums, axis=0) / np.float32(max(count, 1))

    def centred(part: slice) -> np.ndarray:
        matrix = vectors[part].astype(np.float32)
        release(vectors)
        matrix -= mean * np.asarray(matrix.any(1))[:, None]
        return matrix

    squares = np.sum([matrix.T @ matrix for matrix in map(centred, blocks)], axis=0)
    values, directions = np.linalg.eigh(squares)
    kept = directions[:, np.argsort(-values, kind="stable")[:DENSE_WIDTH]]
    # The sign of a direction is arbitrary: the largest part is made positive, so that equal runs agree.
    kept *= np.sign(kept[np.abs(kept).argmax(0), np.arange(kept.shape[1])])
    return np.concatenate([centred(part) @ kept for part in blocks])


def _of_length_one(vectors: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """`vectors`, divided by what makes the rows of `measured` that are not zeros as long as 1 (root mean square)."""
    squares = (measured**2).sum(1)
    return (
        vectors / max(float(np.sqrt(squares[squares > 0].mean())), 1e-9)
        if squares.any()
        else vectors
    )


def _codes(values: pd.Series) -> np.ndarray:
    """A number from 1 for each value that `SHARED` products have, 0 for the others, (n,) int64."""
    counts = values.value_counts()
    frequent = sorted(counts.index[counts >= SHARED])
    return pd.Index(frequent).get_indexer(values).astype(np.int64) + 1
