"""Nodes whose pods get their network from OVN: each is a namespace with a switch and our daemon in CNI mode default."""
