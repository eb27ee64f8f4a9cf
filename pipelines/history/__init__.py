"""What users did and what was done with items, summed up part by part."""
