"""Verbs: one module a stage. Each reads files, calls `models`, and writes files."""
