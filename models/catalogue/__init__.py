"""What is likely wrong or missing in a catalogue, told from what stands in it."""
