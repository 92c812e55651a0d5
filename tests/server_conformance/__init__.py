"""Conformance kit for servers of the reference link protocol.

``python -m tests.server_conformance --server URL --user … --password …`` plays a gateway to it and
reports what it does. docs/servers.md says how to run it. It is written from docs/oscce-link.md alone.
"""
