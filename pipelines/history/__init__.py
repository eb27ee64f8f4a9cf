"""What users did and what was done with items: as sums of parts, and event by event."""
