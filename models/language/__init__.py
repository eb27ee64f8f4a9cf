"""Models that read what customers write."""
