"""Profiles: the cost of one part of the event path."""
