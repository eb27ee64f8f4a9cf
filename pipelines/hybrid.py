"""Train the hybrid recommender over behaviour and content."""

from models.recommenders.hybrid import Hybrid
from pipelines.harness import Run, stage
from pipelines.training.recommending import TowerParams, fit_towers, item_content


@stage
def hybrid(run: Run, params: TowerParams) -> None:
    fit_towers(run, Hybrid, params, item_content(run), behaviour=True)


if __name__ == "__main__":
    hybrid.main()
