"""Adapter for an Asterisk: its AMI connection, and the links that carry each user's view of it."""
