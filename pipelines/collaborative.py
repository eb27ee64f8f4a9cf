"""Train the collaborative recommender; write its vectors beside the figures of users and items, and who is most like whom."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.recommenders.baselines import matrix
from models.recommenders.collaborative import Collaborative
from models.recommenders.events import Events
from models.recommenders.neighbours import nearest_others, shared
from pipelines.harness import Run, stage
from pipelines.tables import Interactions
from pipelines.training.recommending import TowerParams, fit_towers

NEIGHBOURS, SHARED = 10, 5
"""Neighbours that a user is given, and items that are named of what two of them share."""


@stage
def collaborative(run: Run, params: TowerParams) -> None:
    model = fit_towers(run, Collaborative, params, None, behaviour=True)
    users = pq.read_table(run.input("behaviour/users.parquet"))
    items = pq.read_table(run.input("behaviour/items.parquet"))
    known = model.known
    vectors = model.user_vectors(known.histories)
    _write(run, "user_features", Interactions.USER, users, known.users, vectors)
    _write(run, "item_features", Interactions.ITEM, items, model.items, model.vectors_out)
    pq.write_table(alike(known), run.output("user_neighbours.parquet"), compression="zstd")


def alike(known: Events) -> pa.Table:
    """The users most like each user: user_id, rank (from 1), neighbour_id, score (cosine of what they touched), shared
    (item ids, those that fewest users have first) and shared_items (how many there are). Users like nobody have no row."""
    rows = matrix(known.histories)
    near = nearest_others(rows, NEIGHBOURS)
    user, place = np.nonzero(near.position >= 0)
    both = shared(rows, near, SHARED)
    pair = np.searchsorted(user * NEIGHBOURS + place, both.user * NEIGHBOURS + both.place)
    starts = np.searchsorted(pair, np.arange(len(user) + 1))
    users, items = pa.array(known.users, pa.string()), pa.array(known.items, pa.string())
    found = pa.table(
        {
            Interactions.USER: users.take(pa.array(user)),
            "rank": pa.array(place + 1, pa.int32()),
            "neighbour_id": users.take(pa.array(near.position[user, place])),
            "score": pa.array(near.cosine[user, place].round(6)),
            "shared_items": pa.array(both.counts[user, place], pa.int32()),
            "shared": pa.ListArray.from_arrays(
                pa.array(starts, pa.int32()), items.take(pa.array(both.item))
            ),
        }
    )
    return found.sort_by([(Interactions.USER, "ascending"), ("rank", "ascending")])


def _write(
    run: Run, name: str, key: str, told: pa.Table, ids: list[str], vectors: np.ndarray
) -> None:
    """The figures beside the learned vectors; ids without an event have a vector and no figures."""
    flat = pa.array(vectors.astype(np.float32).reshape(-1))
    learned = pa.table(
        {key: ids, "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
    )
    place = pa.table({key: told[key], "at": np.arange(len(told))})
    at = learned.select([key]).join(place, key, join_type="left outer").sort_by(key)
    ordered = learned.sort_by(key)
    taken = told.drop([key]).take(at["at"])
    for column in taken.column_names:
        ordered = ordered.append_column(column, taken[column])
    pq.write_table(ordered, run.output(f"{name}.parquet"), compression="zstd")


if __name__ == "__main__":
    collaborative.main()
