"""Adapter for an OSCC-E Server.

The modules of this package alone know the server's names; ``client``, ``socket``, ``upgrade`` and ``link``
alone do I/O.
"""
