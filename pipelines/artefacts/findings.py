"""The columns of the table of what is likely wrong in the catalogue, for who writes it and who reads it."""

TEXTS = (
    "kind",
    "item_id",
    "image_key",
    "title",
    "field",
    "value",
    "proposed",
    "other",
    "why",
    "source",
    "also",
)
NUMBERS = ("wrong", "confidence", "worth")
