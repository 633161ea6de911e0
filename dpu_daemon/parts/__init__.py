"""Drivers and engine of each mode; a daemon loads those of its own alone, which halves what it weighs."""
