"""The CSI plug-in of a host: who it is, its volumes, its registration with kubelet; docs/csi.md, docs/csi-node.md."""
