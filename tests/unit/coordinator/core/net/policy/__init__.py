"""Policies and groups, part by part."""
