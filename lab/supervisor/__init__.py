"""Plays systemd's part for a lab: starts, watches, restarts and stops its processes."""
