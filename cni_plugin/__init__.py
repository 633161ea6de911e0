"""The CNI executable: carries a runtime's call to the node daemon and prints the answer; see docs/cni.md."""
