"""NetworkPolicies and security groups, compiled for OVN."""
