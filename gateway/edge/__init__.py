"""How phones reach a node: HTTP API and WebSocket."""
