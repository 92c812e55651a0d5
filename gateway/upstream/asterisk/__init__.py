"""The adapter for an Asterisk: its AMI connection, and the views of it that links carry."""
