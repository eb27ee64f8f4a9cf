"""The data contract: the canonical tables and their columns, as one class of names a table.

Ids are strings, times are UTC. Optional columns may be absent, never half-meant.
"""

from dataclasses import dataclass, field


class Interactions:
    """One event of one user with one item."""

    USER = "user_id"
    ITEM = "item_id"
    TIME = "timestamp"
    EVENT = "event"
    VALUE = "value"
    PRICE = "price"
    ORDER = "order_id"


class Products:
    """One product of the catalogue; every further column is an attribute."""

    ITEM = "item_id"
    TITLE = "title"
    DESCRIPTION = "description"
    CATEGORY = "category"
    BRAND = "brand"
    PRICE = "price"
    CURRENCY = "currency"
    AVAILABLE = "available"
    IMAGE = "image_key"


class Users:
    """One user; every further column is a feature."""

    USER = "user_id"


class Images:
    """One picture, as bytes in a few large shards."""

    IMAGE = "image_key"
    BYTES = "bytes"
    LABEL = "label"


class Reviews:
    """One review or one sentence of feedback."""

    REVIEW = "review_id"
    TEXT = "text"
    ITEM = "item_id"
    USER = "user_id"
    TITLE = "title"
    RATING = "rating"
    LANGUAGE = "language"
    TIME = "timestamp"
    LABEL = "label"
    GROUP = "group_id"
    """What the row is a part of: sentences of one review share it; a whole review's own is its `review_id`."""


class Questions:
    """One question about one item; the answer, where marked, is a slice of one review's text."""

    QUESTION = "question_id"
    ITEM = "item_id"
    TEXT = "question"
    REVIEW = "review_id"
    START = "start"
    END = "end"


@dataclass(frozen=True)
class Column:
    """dtype: Ibis' name of the type. required: the column must be there, and no cell of it empty."""

    dtype: str
    required: bool = False


@dataclass(frozen=True)
class Table:
    """key: the columns that name a row (empty: rows have no name, as events). extra: more columns allowed."""

    name: str
    key: tuple[str, ...]
    columns: dict[str, Column]
    extra: bool = False
    references: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Column to (table, column) whose values it must be among."""


EVENTS = ("view", "cart", "purchase", "rating")
LANGUAGES = ("en", "zh")
SENTIMENTS = ("negative", "neutral", "positive")
SIDE = "side"
"""In tables made of reviews: 1 for praise, -1 for blame, 0 for neither."""
TIME = "timestamp('UTC')"

TABLES = {
    table.name: table
    for table in (
        Table(
            "interactions",
            (),
            {
                Interactions.USER: Column("string", True),
                Interactions.ITEM: Column("string", True),
                Interactions.TIME: Column(TIME, True),
                Interactions.EVENT: Column("string", True),
                Interactions.VALUE: Column("float64"),
                Interactions.PRICE: Column("float64"),
                Interactions.ORDER: Column("string"),
            },
            references={Interactions.ITEM: ("products", Products.ITEM)},
        ),
        Table(
            "products",
            (Products.ITEM,),
            {
                Products.ITEM: Column("string", True),
                Products.TITLE: Column("string", True),
                Products.DESCRIPTION: Column("string"),
                Products.CATEGORY: Column("string"),
                Products.BRAND: Column("string"),
                Products.PRICE: Column("float64"),
                Products.CURRENCY: Column("string"),
                Products.AVAILABLE: Column("boolean"),
                Products.IMAGE: Column("string"),
            },
            extra=True,
        ),
        Table("users", (Users.USER,), {Users.USER: Column("string", True)}, extra=True),
        Table(
            "images",
            (Images.IMAGE,),
            {
                Images.IMAGE: Column("string", True),
                Images.BYTES: Column("binary", True),
                Images.LABEL: Column("string"),
            },
            extra=True,
        ),
        Table(
            "reviews",
            (Reviews.REVIEW,),
            {
                Reviews.REVIEW: Column("string", True),
                Reviews.TEXT: Column("string", True),
                Reviews.ITEM: Column("string"),
                Reviews.USER: Column("string"),
                Reviews.TITLE: Column("string"),
                Reviews.RATING: Column("float64"),
                Reviews.LANGUAGE: Column("string"),
                Reviews.TIME: Column(TIME),
                Reviews.LABEL: Column("string"),
                Reviews.GROUP: Column("string"),
            },
        ),
        Table(
            "questions",
            (Questions.QUESTION,),
            {
                Questions.QUESTION: Column("string", True),
                Questions.ITEM: Column("string", True),
                Questions.TEXT: Column("string", True),
                Questions.REVIEW: Column("string"),
                Questions.START: Column("int64"),
                Questions.END: Column("int64"),
            },
            references={Questions.REVIEW: ("reviews", Reviews.REVIEW)},
        ),
    )
}
