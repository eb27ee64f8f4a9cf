"""The columns of the tables that tell what buyers say, for who writes them and who reads them."""

import pyarrow as pa

ASPECTS = pa.schema(
    [
        ("review_id", pa.string()),
        ("item_id", pa.string()),
        ("language", pa.string()),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("term", pa.string()),
        ("category", pa.string()),
        ("polarity", pa.string()),
        ("confidence", pa.float64()),
        ("said", pa.string()),
        ("said_start", pa.int64()),
        ("said_end", pa.int64()),
        ("quote_start", pa.int64()),
        ("quote_end", pa.int64()),
    ]
)
QUOTES = pa.list_(
    pa.struct(
        [
            ("review_id", pa.string()),
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("text", pa.string()),
        ]
    )
)
PRODUCTS = pa.schema(
    [
        ("item_id", pa.string()),
        ("language", pa.string()),
        ("category", pa.string()),
        ("terms", pa.list_(pa.string())),
        ("reviews", pa.int64()),
        ("positive", pa.int64()),
        ("negative", pa.int64()),
        ("share", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("share_before", pa.float64()),
        ("share_after", pa.float64()),
        ("quotes_for", QUOTES),
        ("quotes_against", QUOTES),
    ]
)
USERS = pa.schema(
    [
        ("user_id", pa.string()),
        ("language", pa.string()),
        ("category", pa.string()),
        ("reviews", pa.int64()),
        ("written", pa.int64()),
        ("care", pa.float64()),
        ("positive", pa.int64()),
        ("negative", pa.int64()),
        ("against", pa.float64()),
        ("compared", pa.int64()),
    ]
)
