"""Turn Chinese reviews into the canonical table."""

from pipelines.harness import Params, Run, stage
from pipelines.sources import given, write


class IngestReviewsZhParams(Params):
    """source: a name of `pipelines.sources`. reviews: how many of them (0: all)."""

    source: str
    reviews: int


@stage
def ingest_reviews_zh(run: Run, params: IngestReviewsZhParams) -> None:
    with given(run, "reviews-zh", params.source, reviews=params.reviews) as found:
        write(run, found, {"reviews": ["review_id"]})


if __name__ == "__main__":
    ingest_reviews_zh.main()
