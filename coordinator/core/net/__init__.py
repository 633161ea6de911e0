"""Decisions about OVN: from objects to the rows of its northbound database."""
