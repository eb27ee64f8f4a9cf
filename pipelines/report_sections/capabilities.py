"""The words for each capability and its metric."""

NAMES = {
    "collaborative": "Recommender from behaviour",
    "content": "Recommender from content",
    "hybrid": "Hybrid recommender",
    "recommender": "Recommender behind the lists",
    "recognition": "Recognition of pictures",
    "attributes": "Attributes from title and picture",
    "sentiment": "Sentiment of reviews",
    "answers": "Answers from reviews",
}


def named(code: str) -> str:
    """A code's underscores and hyphens as spaces, for reading."""
    return code.replace("_", " ").replace("-", " ")
