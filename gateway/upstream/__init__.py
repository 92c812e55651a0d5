"""Adapters of contact centres: ``oscce`` for an OSCC-E Server, ``asterisk`` for an Asterisk."""
