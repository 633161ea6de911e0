"""Decisions of the CSI Controller: what a request means, whether it fits what is there, and what is answered."""
