"""Pure decisions of the server pool: what to add, what to remove, who lends to whom, and why.

Nothing here reads a clock, a socket or a file; time, seeds and observed objects are arguments.
"""
