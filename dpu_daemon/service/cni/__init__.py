"""The daemon's side of CNI: a Unix socket, one call a connection; docs/cni.md has the protocol and all errors."""
