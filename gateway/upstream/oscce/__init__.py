"""Adapter for an OSCC-E Server.

The server's names are used in this package only. Only ``client``, ``socket`` and ``http`` do I/O.
"""
