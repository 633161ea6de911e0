"""The DPU's block layer and emulated functions on SPDK, over its JSON-RPC socket."""
