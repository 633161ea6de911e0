"""The embedded Kubernetes-style API server.

Where to look, from the wire inwards:

server      one aiohttp application: who asks (users), may they (rules), what about (request), which room (routes)
resources   every verb of every kind; bodies, negotiation and protobuf are the wire's languages
reading     get and list; selectors, tables, columns, jsonpath, printing are how objects are chosen and shown
watching    a cursor on the history
writes      create, replace, patch; shaping decides the next state, decoding, validation, transitions, formats, naming
            and conforming check it; patch, apply, managed and structure are how changes are merged and owned
deletes     deletion; gc finishes it
store       objects in memory and on disk; history is what watchers follow, database the SQLite file
kinds       what is served: builtin (plain kinds), crds (ours); discovery and openapi tell about it
reviews     answer "may I" and "who am I" by the rules that requests are judged by
"""
