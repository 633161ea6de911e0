"""Decisions about addresses and MACs."""
