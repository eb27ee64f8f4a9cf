"""Turn English reviews, and questions marked over them, into canonical tables."""

from pipelines.harness import Params, Run, stage
from pipelines.sources import given, write


class IngestReviewsParams(Params):
    """source: a name of `pipelines.sources`."""

    source: str


@stage
def ingest_reviews(run: Run, params: IngestReviewsParams) -> None:
    with given(run, "reviews", params.source) as found:
        write(run, found, {"reviews": ["review_id"], "questions": ["question_id"]})


if __name__ == "__main__":
    ingest_reviews.main()
