"""Content alone: item vectors from text, picture and attributes; a user is the interests that the history shows."""

from models.recommenders.two_tower import TwoTower


class Content(TwoTower):
    """Content alone: item vectors from text, picture and attributes; a user is the interests that the history shows."""

    kind = "content"
