"""A small read-only shop page over the newest lists and the champions; `serve` runs it on loopback."""
