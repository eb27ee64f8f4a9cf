"""Behaviour alone: item vectors learnt from who bought what, users from their history."""

from models.recommenders.two_tower import TwoTower


class Collaborative(TwoTower):
    """Behaviour alone: item vectors learnt from who bought what, users from their history."""

    kind = "collaborative"
