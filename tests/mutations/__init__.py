"""Enforcement taken away, one rule at a time."""
