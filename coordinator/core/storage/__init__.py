"""Decisions about volumes and attachments."""
