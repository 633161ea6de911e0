"""The CSI plug-in of a host: who it is, and its registration with kubelet; see docs/csi.md."""
