"""Fit the recommender that lists are made with: `auto`, as the benchmark door fits it, with the trained towers beside.

What it is made of is chosen on the validation rows; then it is fitted on them too. So they judge it by users whom its
ranker was not learnt from: the stage's figures are those.
"""

import json

import pyarrow.parquet as pq

from models.bundle import save
from models.kinds import load_model
from models.recommenders.auto import Held, fit_auto
from models.recommenders.catalogue import Catalogue
from models.recommenders.cuts import Protocol
from models.recommenders.ranker import DEPTH
from models.recommenders.registry import RECOMMENDERS
from models.recommenders.settings import RegistrySettings
from pipelines.capabilities import recommending as judge
from pipelines.harness import BadConfig, Run, stage
from pipelines.tables import Products, Users
from pipelines.training.judging import headline, tell_fitted
from pipelines.training.recommending import TASK, known_events
from pipelines.training.trained import TrainedParams

TOWERS = ("collaborative", "content", "hybrid")
BASELINES = ("popularity", "personal-popularity", "user-neighbours")
UNTOLD = [Products.IMAGE, Products.CURRENCY, Products.AVAILABLE]
"""Columns that say nothing of what an item is."""


class RecommenderParams(TrainedParams):
    """k: items on a list. members: names of the recommenders that are tried; empty for all that the shop can afford and
    the trained towers. event_weights: how much an event of each kind says. sizes: of the recommenders."""

    k: int
    event_weights: dict[str, float]
    members: list[str]
    sizes: RegistrySettings


@stage
def recommender(run: Run, params: RecommenderParams) -> None:
    unknown = sorted(set(params.members) - {*RECOMMENDERS, *TOWERS})
    if unknown:
        known = ", ".join([*RECOMMENDERS, *TOWERS])
        raise BadConfig(f"recommender.members: no {', '.join(unknown)}; known are {known}")
    cut = json.loads((run.input(TASK) / "cut.json").read_text("utf-8"))
    start, end = judge.moment(cut["valid_from"]), judge.moment(cut["test_from"])
    events = known_events(run, ("train", "valid"), end, params.event_weights)
    products = pq.read_table(run.input(f"{TASK}/products.parquet"))
    products = products.drop([name for name in UNTOLD if name in products.column_names])
    people = pq.read_table(run.input(f"{TASK}/users.parquet"))
    users = sorted({*events.users, *people[Users.USER].to_pylist()})
    towers = [name for name in TOWERS if name in params.members or not params.members]
    bundles = {name: run.optional(f"{name}/bundle") for name in towers}
    run.advance(0.05, "fitting")
    model, held = fit_auto(
        events,
        Catalogue.from_table(products, Products.ITEM, events.items),
        Protocol(last=False, days=end - start),
        params.sizes,
        again=events.bought_again,
        allowed=None,
        names=[name for name in params.members if name in RECOMMENDERS] or None,
        seed=run.seed,
        threads=run.threads,
        say=run.say,
        k=params.k,
        beside={name: load_model(bundle) for name, bundle in bundles.items() if bundle},
        users=(users, Catalogue.from_table(people, Users.USER, users)),
        devices=params.devices,
    )
    report(run, held)
    save(model.to_bundle(), run.output("bundle"))
    tell_fitted(run, "recommending")
    run.rows_in = len(events.user)


def report(run: Run, held: Held) -> None:
    """What each way was worth on the validation rows, and the chosen one against the baselines among them."""
    for name, values in held.quality.items():
        run.measure(f"{name}/NDCG@{DEPTH}", float(values.mean()))
    for name in held.members:
        run.measure(f"member/{name}", 1.0)
    baselines = {name: held.quality[name] for name in BASELINES if name in held.quality}
    if baselines:
        ours = held.quality[held.way]
        run.judge(headline(f"NDCG@{DEPTH}", ours, baselines, run.seed))
        run.rows_out = len(ours)


if __name__ == "__main__":
    recommender.main()
