"""Drivers of storage backends behind `coordinator.clients.protocols.Backend`."""
