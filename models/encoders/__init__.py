"""Frozen encoders: texts, pairs of texts and pictures as vectors and scores."""
