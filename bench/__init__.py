"""Benchmarks of the gateway: speed, size, and the place among its peers."""
