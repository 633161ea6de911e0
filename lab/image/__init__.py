"""Bootable images of the lab: a tiny one made in seconds, and full Debian with cloud-init."""
