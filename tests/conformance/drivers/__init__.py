"""Drivers for the project's own clients."""
