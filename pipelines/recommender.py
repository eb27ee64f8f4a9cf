"""Choose or blend the recommenders that lists are made with, on validation rows."""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import save
from models.kinds import load_model
from models.metrics import ndcg
from models.recommenders.base import blocks, top_k
from models.recommenders.blend import MEMBERS, Blend
from pipelines.capabilities import recommending as judge
from pipelines.harness import Params, Run, stage
from pipelines.judging import judge_on_validation

Weights = tuple[tuple[str, float], ...]


class RecommenderParams(Params):
    """steps: each member's share is a multiple of 1 / steps; 1 chooses one of them."""

    steps: int


@stage
def recommender(run: Run, params: RecommenderParams) -> None:
    split = run.input("split/recommending")
    bundles = {name: run.optional(f"{name}/bundle") for name in sorted(MEMBERS)}
    members = {name: load_model(bundle) for name, bundle in bundles.items() if bundle}
    with tempfile.TemporaryDirectory() as scratch:
        rows = Path(scratch) / "rows"
        judge.freeze(split, "valid", rows)
        quality = shares(run, members, rows, params.steps)
        best = max(sorted(quality, reverse=True), key=lambda weights: quality[weights])
        chosen = {name: share for name, share in best if share}
        model = Blend({name: members[name] for name in chosen}, chosen)
        for name, value in judge.against_own(model, rows, run.seed).items():
            run.measure(name, value)
    for weights, value in quality.items():
        for name, share in weights:
            if share == 1.0:
                run.measure(f"alone/{name}", value)
    for name in members:
        run.measure(f"share/{name}", chosen.get(name, 0.0))
    save(model.to_bundle(), run.output("bundle"))
    run.advance(0.8, "judging on validation")
    table = judge_on_validation(run, judge, "recommending", model)
    run.rows_in, run.rows_out = len(members), len(table)


def shares(run: Run, members: dict[str, Any], rows: Path, steps: int) -> dict[Weights, float]:
    """Mean NDCG@20 on the frozen rows of every way to share one among the members in `steps` parts."""
    names = list(members)
    ways = [
        way for way in itertools.product(range(steps + 1), repeat=len(names)) if sum(way) == steps
    ]
    history, users, truth = judge.asked(rows, members[names[0]].items)
    histories = history.of(users).histories
    observed = {name: member.observe(history) for name, member in members.items()}
    gained = np.zeros(len(ways))
    # The members' scores and their blend stand in memory together.
    for block in run.progress(
        list(blocks(len(users), 4 * histories.items)), "blending", span=(0, 0.7)
    ):
        mine, true = histories.take(block), truth.take(block)
        scores = {name: member.scores(mine) for name, member in observed.items()}
        for at, way in enumerate(ways):
            mixed = sum(
                share / steps * scores[name] for share, name in zip(way, names, strict=True)
            )
            if not history.bought_again:
                mixed[mine.owner, mine.item] = -np.inf
            gained[at] += ndcg(top_k(mixed, judge.K), true.indptr, true.item).sum()
    return {
        tuple((name, share / steps) for name, share in zip(names, way, strict=True)): float(total)
        / max(len(users), 1)
        for way, total in zip(ways, gained, strict=True)
    }


if __name__ == "__main__":
    recommender.main()
