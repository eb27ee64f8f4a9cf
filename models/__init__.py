"""Nouns: recommenders, vision and language models. No paths, no MLflow, no DVC."""
