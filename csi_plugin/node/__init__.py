"""CSI Node: finds the host's emulated disks by identity, formats what is blank, mounts; see docs/csi-node.md."""
