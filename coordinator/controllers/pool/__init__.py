"""The loop of the pools: observes the cluster and the stock, lets the core decide, and carries it out."""
