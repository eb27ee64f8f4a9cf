"""Parameters of lists that set no limit."""

from pipelines.recommend import RecommendParams


def unlimited(k: int, block_users: int) -> RecommendParams:
    """Lists of `k` items of all, what the user has among them, made for `block_users` at a time."""
    return RecommendParams(
        k=k,
        exclude_bought="never",
        max_per_category=0,
        max_per_brand=0,
        min_price=0.0,
        max_price=0.0,
        block_users=block_users,
        half_life_days=14.0,
    )
