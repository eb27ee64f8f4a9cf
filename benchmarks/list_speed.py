"""What exact lists cost beside the bare product: `python -m benchmarks.list_speed [--users 2469] [--items 92331]`.

Every user's vector is multiplied with every item's: by BLAS alone, which is what a list of the best items costs at least; with
the choice of the best `k` of all items; and as the two-tower recommender lists from histories, which also makes the users'
vectors and asks its network about what they would buy again. Vectors and histories are made up. Prints seconds, users a
second and the product's share of the time, the best of `--rounds`.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from models.recommenders.base import Recommender, blocks, recommend
from models.recommenders.collaborative import Collaborative
from models.recommenders.events import HALF_LIVES, Events, Histories
from models.recommenders.two_tower import PAIR_FEATURES, popularity_features


class Product(Recommender):
    """The product and nothing else. users: (U, d). vectors: (items, d)."""

    kind = "product"

    def __init__(self, users: np.ndarray, vectors: np.ndarray) -> None:
        self.users, self.vectors, self.at = users, vectors, 0

    def scores(self, histories: Histories) -> np.ndarray:
        """Of the next users, who are asked for in their order."""
        start, self.at = self.at, (self.at + len(histories)) % len(self.users)
        found: np.ndarray = self.users[start : start + len(histories)] @ self.vectors.T
        return found


def made(
    users: int, items: int, dim: int, events: int, hidden: int
) -> tuple[Collaborative, Histories]:
    """A two-tower recommender with random weights, and histories of so many events."""
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(users), events)
    # Squared, so that some items are bought much oftener than others.
    item = (rng.random(len(user)) ** 2 * items).astype(np.int64)
    known = Events.from_arrays(
        [str(at) for at in range(users)],
        [str(at) for at in range(items)],
        user,
        item,
        rng.uniform(0, 365, len(user)),
    )

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / 10).astype(np.float32)

    weights = {
        "mix": random(len(HALF_LIVES)),
        "popular": random(3),
        "bias": random(1),
        "w1": random(PAIR_FEATURES, hidden),
        "b1": random(hidden),
        "w2": random(hidden, hidden),
        "b2": random(hidden),
        "w3": random(hidden, 1),
        "b3": random(1),
    }
    model = Collaborative(
        items=known.items,
        vectors_in=random(items, dim),
        vectors_out=random(items, dim),
        weights=weights,
        popular=popularity_features(known),
        known=known,
        k=20,
    )
    return model, known.histories


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The shortest of so many runs."""
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=2469)
    parser.add_argument("--items", type=int, default=92331)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--events", type=int, default=500, help="of each user")
    parser.add_argument("--hidden", type=int, default=32, help="width of the network")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    from threadpoolctl import threadpool_limits

    model, histories = made(asked.users, asked.items, asked.dim, asked.events, asked.hidden)
    vectors = model.user_vectors(histories)
    product = Product(vectors, model.vectors_out)

    def bare() -> None:
        for block in blocks(asked.users, asked.items):
            vectors[block] @ model.vectors_out.T

    with threadpool_limits(asked.threads):
        spent = {
            "product alone": seconds(bare, asked.rounds),
            f"product and the best {asked.k}": seconds(
                lambda: recommend(product, histories, asked.k), asked.rounds
            ),
            f"two towers, from histories to the best {asked.k}": seconds(
                lambda: recommend(model, histories, asked.k), asked.rounds
            ),
        }
    table = Table("what", "seconds", "users/s", "product's share")
    for name, value in spent.items():
        share = spent["product alone"] / value
        table.add_row(name, f"{value:.2f}", f"{asked.users / value:.0f}", f"{share:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
