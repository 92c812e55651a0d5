"""How an OSCC-E Server is spoken to.

``wire*.py`` alone know the server's names; ``link.py`` and ``client.py`` alone do I/O.
"""
