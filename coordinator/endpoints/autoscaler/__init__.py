"""Servers for an unchanged Kubernetes Cluster Autoscaler: its external cloud provider and its expander plugin."""
