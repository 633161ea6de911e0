"""The host's BMC: a Redfish service over HTTPS, and the serial console on a WebSocket.

service -> documents, inventory, actions, consoles -> access, replies
"""
