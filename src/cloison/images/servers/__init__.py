"""Images on servers: registries of the OCI distribution protocol, and simplestreams trees.

`references` reads what people write, `settings` is what the host's configuration says about servers. The rest is
imported when a server is asked: `pulling` and `pushing` for registries, `streams` for simplestreams.
"""
