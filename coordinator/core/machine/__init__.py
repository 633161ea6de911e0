"""Decisions about machines."""
