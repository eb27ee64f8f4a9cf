"""YAML files as Python values."""

from typing import Any

import yaml


def parse(text: str) -> Any:
    """YAML by the C loader, eight times as fast as `yaml.safe_load` and as safe. Raises `yaml.YAMLError`."""
    loader = yaml.CSafeLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
