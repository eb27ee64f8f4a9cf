"""Train the content recommender, an interest model of each user over item features."""

from models.recommenders.content import Content
from pipelines.harness import Run, stage
from pipelines.recommending import TowerParams, fit_towers, item_content


@stage
def content(run: Run, params: TowerParams) -> None:
    fit_towers(run, Content, params, item_content(run), behaviour=False)


if __name__ == "__main__":
    content.main()
