"""Recognition of product pictures, and product attributes from title and picture."""
