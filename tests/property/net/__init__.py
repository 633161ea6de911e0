"""Policies and groups against an independent reading of their API."""
