"""Clients of OVN."""
