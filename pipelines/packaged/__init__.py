"""Packages of registries as files, and what is read from them: encoders, lexicons, dictionaries."""
