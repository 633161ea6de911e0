"""OVSDB (RFC 7047 and ovsdb-server(7)): connections, copies kept by a monitor, transactions, values."""
