"""`recommend`: lists of items for every user of a log of events."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from models.recommenders.settings import RegistrySettings
from pipelines.door.verb import Asked, File, Option, Verb
from pipelines.harness import BadConfig
from pipelines.training.trained import TrainedParams

if TYPE_CHECKING:
    import numpy as np

    from models.recommenders.auto import Auto
    from models.recommenders.events import Events

SECTION = "door-recommend"
EVENTS = (
    "user, item (texts or whole numbers), ts (a time, a date, or seconds since 1970) or pos (the order of each user's "
    "events alone); [event (view, cart, purchase, ...), value, price]. With both ts and pos, pos orders what ts ties"
)


class DoorRecommendParams(TrainedParams):
    """event_weights: how much an event of each kind says; kinds that are not named say most. sizes: of the recommenders
    that are tried."""

    event_weights: dict[str, float]
    sizes: RegistrySettings


@dataclass(frozen=True)
class Lister:
    """A fitted recommender, for whom it lists and in which order, and how ids are written."""

    model: "Auto"
    listed: "Events"
    order: "np.ndarray"
    allowed: Any
    user_type: pa.DataType
    item_type: pa.DataType


def fit(asked: Asked) -> Lister:
    from models.recommenders.auto import fit_auto
    from models.recommenders.registry import RECOMMENDERS
    from pipelines.door.shop import read_shop

    name = asked.options["recommender"]
    if name != "auto" and name not in RECOMMENDERS:
        raise BadConfig(f"--recommender {name}: known are auto, {', '.join(RECOMMENDERS)}")
    if asked.options["k"] < 1:
        raise BadConfig(f"--k {asked.options['k']}: a list has at least one item")
    params = asked.params(SECTION, DoorRecommendParams)
    shop = read_shop(asked, params.event_weights)
    model, _ = fit_auto(
        shop.events,
        shop.catalogue,
        shop.protocol,
        params.sizes,
        again=asked.options["allow-seen"],
        allowed=shop.allowed,
        names=None if name == "auto" else [name],
        seed=asked.seed,
        threads=asked.threads,
        say=asked.say,
        k=asked.options["k"],
        users=(shop.listed.users, shop.features),
        devices=params.devices,
    )
    return Lister(
        model,
        shop.listed,
        shop.order,
        shop.allowed,
        shop.user_type,
        shop.item_type,
    )


def predict(lister: Lister, asked: Asked) -> Iterator[pa.RecordBatch]:
    import numpy as np

    from models.recommenders.base import blocks, recommend, top_k

    k = asked.options["k"]
    items = pa.array(lister.model.items, pa.string())
    users = pa.array(lister.listed.users, pa.string())
    histories = lister.listed.histories
    # Scores come in the order of ids, whatever the order of rows: sums of other blocks may differ in their last digit.
    best = np.empty((len(histories), k), np.int32)
    scored = np.empty((len(histories), k), np.float32)
    for block in blocks(len(histories), histories.items):
        mine = histories.take(block)
        lists, values = recommend(
            lister.model, mine, k, lister.allowed, again=asked.options["allow-seen"]
        )
        new = np.flatnonzero(np.diff(mine.indptr) == 0)
        if lister.model.newcomers is not None and len(new):
            # By what is known of them, which their histories don't tell.
            scores = lister.model.newcomers.scores(block[new])
            lists[new] = top_k(scores, k, lister.allowed)
            found = np.take_along_axis(scores, np.maximum(lists[new], 0), axis=1)
            values[new] = np.where(lists[new] >= 0, found, np.nan)
        best[block], scored[block] = lists, values
    for block in blocks(len(histories), histories.items):
        asked_for = lister.order[block]
        lists, values = best[asked_for], scored[asked_for]
        row, place = np.nonzero(lists >= 0)
        yield pa.record_batch(
            {
                "user": users.take(pa.array(asked_for[row])).cast(lister.user_type),
                "item": items.take(pa.array(lists[row, place])).cast(lister.item_type),
                "rank": pa.array(place + 1, pa.int32()),
                "score": pa.array(values[row, place], pa.float32()),
            }
        )


VERB = Verb(
    summary="List items for every user of train, valid, fold-in and users (those too who have no event of a known item).",
    files=(
        File("train", EVENTS),
        File(
            "valid",
            "as train: later events. `auto` chooses on them, then learns from them; lists are for what follows them",
            required=False,
        ),
        File("items", "item and any columns: texts, numbers, lists", required=False),
        File(
            "users",
            "user and any columns: users without events are listed by what sells to users with the same values",
            required=False,
        ),
        File(
            "fold-in",
            "as train: events of users who are not in train; they are listed from these events without training",
            required=False,
        ),
        File(
            "candidates",
            "item: the only items that may be listed; they may be such that were never sold",
            required=False,
        ),
    ),
    writes="user, item, rank (from 1), score; users in the order in which users, fold-in, train and valid first name them",
    fit=fit,
    predict=predict,
    options=(
        Option("allow-seen", "list what a user had before, too", bool, False),
        Option("recommender", "auto, or one by name", str, "auto"),
        Option("k", "items on a list", int, 20),
    ),
)
