"""A stand-in model with its capability, and a project around it that takes seconds."""
