"""Conformance kit for clients of the client protocol.

``python -m tests.conformance --client "node my-driver.mjs"`` plays the gateway for it over real sockets and
reports what it does. docs/clients.md says what a driver is.
"""
