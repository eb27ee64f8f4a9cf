"""Behaviour and content in one item vector; what was never sold is served by its content."""

from models.recommenders.two_tower import TwoTower


class Hybrid(TwoTower):
    """Behaviour and content in one item vector; what was never sold is served by its content."""

    kind = "hybrid"
