"""One model of RecTools or RecBole on a folder's rows; `benchmarks.recommender_peers` runs it where these libraries are.

    python -I benchmarks/peer_models.py FOLDER "rectools: ease" --out lists.parquet

It stands by itself: in that environment there is nothing of ours. It reads what a recommender may know (train.parquet, and
valid.parquet and fold-in.parquet where they are there), writes everybody's list and prints its figures as one line of JSON.

Models have their library's own settings, save these. The networks are trained until ten epochs bring nothing on each user's
last event (or until `--seconds` of the processor are over), then anew on all events for as many epochs as were best; so
RecTools' SASRec too, which would stop after three. Sequences are as long as the longest history where that is below the
library's 100 or 50, and RecBole judges its epochs on many users at once; that changes no figure.
"""

import argparse
import contextlib
import importlib
import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

K = 20
SEED = 1
BLOCK = 1 << 24
"""Scores that stand in memory at once."""
SECONDS = 600
PATIENCE = 10
MOST_EPOCHS = 300
PARTS = ("train", "valid", "fold-in")


@dataclass(frozen=True)
class Log:
    """What a model may know, by user, and a user's events in their order.

    user, item: (events,) codes. place: (events,) how many of the user's events came before. users, items: names by code.
    """

    user: np.ndarray
    item: np.ndarray
    place: np.ndarray
    users: pd.Index
    items: pd.Index

    @property
    def starts(self) -> np.ndarray:
        """(users + 1,) where each user's events begin."""
        return np.searchsorted(self.user, np.arange(len(self.users) + 1))

    @property
    def longest(self) -> int:
        """Events of the user who has most."""
        return int(self.place.max()) + 1


@dataclass(frozen=True)
class Way:
    """again: what a user had may be listed. seconds: of the processor, in which the best number of epochs is looked for."""

    again: bool
    seconds: float
    threads: int


Lists = Callable[[], pd.DataFrame]
"""Makes everybody's list: user, item (codes), rank from 1, score."""


def read(folder: Path) -> Log:
    """The events of a folder. Raises `SystemExit` naming the file and the column that is missing."""
    tables = [
        _part(folder / f"{part}.parquet")
        for part in PARTS
        if part == "train" or (folder / f"{part}.parquet").is_file()
    ]
    orders = {table.columns[2] for table in tables}
    if len(orders) > 1:
        raise SystemExit(
            f"{folder}: one file has ts and another pos; give all of them one of these"
        )
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise SystemExit(f"{folder}: there is no event in train.parquet")
    user, users = pd.factorize(table["user"], sort=True)
    item, items = pd.factorize(table["item"], sort=True)
    by = np.lexsort((table[orders.pop()].rank(method="dense"), user))
    user, item = user[by], item[by]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    return Log(user, item, place, pd.Index(users), pd.Index(items))


def _part(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    if not path.is_file():
        raise SystemExit(f"{path} is not there")
    there = pq.read_schema(path).names
    order = next((name for name in ("ts", "pos") if name in there), "ts")
    for column in ("user", "item", order):
        if column not in there:
            told = "ts (a time) or pos (a place in order)" if column == order else column
            raise SystemExit(f"{path} has no column {told}; it has {', '.join(there)}")
    return pd.read_parquet(path, columns=["user", "item", order])


def best(scores: np.ndarray, had: tuple[np.ndarray, np.ndarray], k: int) -> np.ndarray:
    """(users, k) items with the highest scores, best first; -1 where no more may be listed.

    scores: (users, items), where what a user had is set to minus infinity. had: rows and columns of that.
    """
    scores[had] = -np.inf
    most = min(k, scores.shape[1])
    found = np.argpartition(-scores, most - 1, axis=1)[:, :most]
    found = np.take_along_axis(
        found, np.lexsort((found, -np.take_along_axis(scores, found, 1))), axis=1
    )
    found = np.where(np.isfinite(np.take_along_axis(scores, found, 1)), found, -1)
    return np.pad(found, ((0, 0), (0, k - most)), constant_values=-1)


def listed(log: Log, scored: Callable[[np.ndarray], np.ndarray], again: bool) -> pd.DataFrame:
    """Everybody's list. scored: codes of users to their scores, (users, items), in blocks of bounded size."""
    return pd.concat(_blocks(log, scored, again), ignore_index=True)


def _blocks(
    log: Log, scored: Callable[[np.ndarray], np.ndarray], again: bool
) -> Iterator[pd.DataFrame]:
    size = max(BLOCK // len(log.items), 1)
    for begin in range(0, len(log.users), size):
        users = np.arange(begin, min(begin + size, len(log.users)))
        scores = np.array(scored(users), dtype=np.float32)
        rows = slice(*np.searchsorted(log.user, [users[0], users[-1] + 1]))
        had = log.user[rows] - begin, log.item[rows]
        found = best(scores, (had[0][:0], had[1][:0]) if again else had, K)
        row, rank = np.nonzero(found >= 0)
        item = found[row, rank]
        yield pd.DataFrame(
            {"user": users[row], "item": item, "rank": rank + 1, "score": scores[row, item]}
        )


def histories(log: Log, users: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """The last events of users: items (users, longest), the oldest first, -1 behind them; and how many there are."""
    begin, end = log.starts[users], log.starts[users + 1]
    begin = np.maximum(begin, end - longest)
    at = begin[:, None] + np.arange(longest)
    items = np.where(at < end[:, None], log.item[np.minimum(at, len(log.item) - 1)], -1)
    return items, end - begin


def _long_enough(log: Log) -> None:
    if log.longest < 3:
        raise SystemExit("nobody has three events: no number of epochs can be chosen")


def popular(log: Log, way: Way) -> Lists:
    from rectools.models import PopularModel

    return _rectools(PopularModel(), _dataset(log), log, way)


def ease(log: Log, way: Way) -> Lists:
    from rectools.models import EASEModel

    return _rectools(EASEModel(recommend_n_threads=way.threads), _dataset(log), log, way)


def sasrec(log: Log, way: Way) -> Lists:
    from pytorch_lightning import seed_everything
    from rectools.models import SASRecModel

    _long_enough(log)
    dataset = _dataset(log)
    settings: dict[str, Any] = {
        "session_max_len": min(100, log.longest),
        "deterministic": True,
        "recommend_torch_device": "cpu",
    }
    tried = SASRecModel(
        **settings,
        get_val_mask_func=last_events,
        get_trainer_func=patient,
        get_trainer_func_kwargs={"seconds": way.seconds},
    )
    seed_everything(SEED)
    tried.fit(dataset)
    trainer = tried.fit_trainer
    epochs = max(trainer.current_epoch - trainer.early_stopping_callback.wait_count, 1)
    _tell("rectools: sasrec", epochs, trainer.current_epoch)
    seed_everything(SEED)
    return _rectools(SASRecModel(**settings, epochs=epochs), dataset, log, way)


def last_events(events: pd.DataFrame, **_: object) -> np.ndarray:
    """(events,) whether it is its user's last. RecTools asks for a function that can be imported, as below."""
    later = (
        events.sort_values("datetime", kind="stable").groupby("user_id").cumcount(ascending=False)
    )
    return (later.reindex(events.index) == 0).to_numpy()


def patient(seconds: float) -> Any:
    """Lightning's trainer that stops where the loss on the last events falls no more, or time is over."""
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback

    end = time.process_time() + seconds

    def look(trainer: Any, _: object) -> None:
        trainer.should_stop = trainer.should_stop or time.process_time() > end

    return Trainer(
        accelerator="cpu",
        callbacks=[
            EarlyStopping("val_loss", patience=PATIENCE),
            LambdaCallback(on_train_epoch_end=look),
        ],
        max_epochs=MOST_EPOCHS,
        deterministic=True,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
    )


def _dataset(log: Log) -> Any:
    """The events as RecTools takes them. Its models know times by their order alone."""
    from rectools.dataset import Dataset

    days = pd.Timestamp(0) + pd.to_timedelta(log.place, unit="D")
    return Dataset.construct(
        pd.DataFrame({"user_id": log.user, "item_id": log.item, "weight": 1.0, "datetime": days})
    )


def _rectools(model: Any, dataset: Any, log: Log, way: Way) -> Lists:
    model.fit(dataset)

    def lists() -> pd.DataFrame:
        found = model.recommend(
            np.arange(len(log.users)),
            dataset,
            K,
            filter_viewed=not way.again,
            on_unsupported_targets="ignore",
        )
        return found.rename(columns={"user_id": "user", "item_id": "item"})

    return lists


class _Enough(Exception):
    """The time to look for the best number of epochs is over."""


def recbole(name: str, **settings: Any) -> Callable[[Log, Way], Lists]:
    """A model of RecBole by its own name. settings: of its own, which it can't be run without."""

    def fit(log: Log, way: Way) -> Lists:
        # It keeps a dataset, its own log and TensorBoard's in the folder that it runs in.
        with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
            return _recbole(name, settings, log, way)

    return fit


def _recbole(name: str, settings: dict[str, Any], log: Log, way: Way) -> Lists:
    _old_names()
    from recbole.config import Config
    from recbole.utils import ModelType

    _write(log, Path("shop"))
    given = {
        "data_path": ".",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "gpu_id": "",
        "seed": SEED,
        "show_progress": False,
        "state": "ERROR",
        "epochs": MOST_EPOCHS,
        "stopping_step": PATIENCE,
        "repeatable": way.again,
        "MAX_ITEM_LIST_LENGTH": min(50, log.longest),
        "eval_args": {"split": {"LS": "valid_only"}, "order": "TO", "mode": "full"},
        **settings,
    }
    words, sys.argv = sys.argv, sys.argv[:1]  # it would take ours for its own
    config = Config(model=name, dataset="shop", config_dict=given)
    sys.argv = words
    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    if not sequential:
        config["eval_batch_size"] = BLOCK
    if config["MODEL_TYPE"] != ModelType.TRADITIONAL:
        _long_enough(log)
        config["epochs"] = _best_epochs(config, way.seconds)
    config["eval_args"]["split"] = {"RS": [1, 0, 0]}
    model, dataset, trainer, train, _ = _prepared(config)
    trainer.fit(train, None, verbose=False, saved=False)
    model.eval()

    import torch
    from recbole.data.interaction import Interaction

    user_of = dataset.token2id("user_id", np.arange(len(log.users)).astype(str))
    # The last is that of no item, which -1 finds.
    item_of = np.append(dataset.token2id("item_id", np.arange(len(log.items)).astype(str)), 0)

    def scored(users: np.ndarray) -> np.ndarray:
        asked = {"user_id": torch.from_numpy(user_of[users])}
        if sequential:
            items, lengths = histories(log, users, config["MAX_ITEM_LIST_LENGTH"])
            asked["item_id_list"] = torch.from_numpy(item_of[items])
            asked["item_length"] = torch.from_numpy(lengths)
        with torch.no_grad():
            scores = model.full_sort_predict(Interaction(asked))
        return scores.view(len(users), -1).numpy()[:, item_of[:-1]]

    return lambda: listed(log, scored, way.again)


def _best_epochs(config: Any, seconds: float) -> int:
    """After how many epochs the model was best on each user's last event."""
    _, _, trainer, train, held = _prepared(config)
    end = time.process_time() + seconds
    best = done = 1

    def told(epoch: int, _: float) -> None:
        nonlocal best, done
        done = epoch + 1
        if trainer.cur_step == 0:
            best = done
        if time.process_time() > end:
            raise _Enough

    with contextlib.suppress(_Enough):
        trainer.fit(train, held, verbose=False, saved=False, callback_fn=told)
    _tell(f"recbole: {config['model'].lower()}", best, done)
    return best


def _prepared(config: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Model, dataset, trainer, and loaders of what is learnt and what is held back, all made anew."""
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, held, _ = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    return model, dataset, trainer, train, held


def _write(log: Log, folder: Path) -> None:
    """The events as RecBole reads them. Its times have 24 bits: places in order are exact, times would not be."""
    folder.mkdir()
    columns = {"user_id:token": log.user, "item_id:token": log.item, "timestamp:float": log.place}
    pd.DataFrame(columns).to_csv(folder / f"{folder.name}.inter", sep="\t", index=False)


def _old_names() -> None:
    """Give SciPy back what RecBole 1.2.1 calls and SciPy 1.13 took away."""
    import scipy.sparse as sp

    if not hasattr(sp.dok_matrix, "_update"):
        sp.dok_matrix._update = lambda self, cells: self._dict.update(cells)


def _tell(name: str, epochs: int, of: int) -> None:
    print(f"{name}: {epochs} of {of} epochs were best", file=sys.stderr, flush=True)


MODELS: dict[str, Callable[[Log, Way], Lists]] = {
    "rectools: popular": popular,
    "rectools: ease": ease,
    "rectools: sasrec": sasrec,
    "recbole: itemknn": recbole("ItemKNN"),
    "recbole: bpr": recbole("BPR"),
    "recbole: lightgcn": recbole("LightGCN"),
    "recbole: multivae": recbole("MultiVAE", train_neg_sample_args=None),
    "recbole: sasrec": recbole("SASRec", train_neg_sample_args=None, repeatable=True),
}


IMPORTED = {
    "rectools": ("pytorch_lightning", "rectools.dataset", "rectools.models"),
    "recbole": ("recbole.config", "recbole.data", "recbole.trainer"),
}
"""What takes seconds to import, and is no part of a model's time."""


def run(folder: Path, name: str, way: Way, out: Path) -> dict[str, float]:
    """Fit, write the lists, and give the figures: seconds to fit and to list, peak memory in MB."""
    log = read(folder)
    for module in IMPORTED[name.partition(":")[0]]:
        importlib.import_module(module)
    started = time.perf_counter()
    lists = MODELS[name](log, way)
    fitted = time.perf_counter()
    found = lists()
    ended = time.perf_counter()
    found["user"] = log.users.take(found["user"])
    found["item"] = log.items.take(found["item"])
    found[["user", "item", "rank", "score"]].to_parquet(out, index=False)
    return {
        "fit_seconds": fitted - started,
        "predict_seconds": ended - fitted,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--again", action="store_true", help="what a user had may be listed")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    import torch
    from threadpoolctl import threadpool_limits

    warnings.simplefilter("ignore")
    torch.set_num_threads(asked.threads)
    with threadpool_limits(asked.threads):
        way = Way(asked.again, asked.seconds, asked.threads)
        print(json.dumps(run(asked.folder.resolve(), asked.name, way, asked.out.resolve())))


if __name__ == "__main__":
    main()
