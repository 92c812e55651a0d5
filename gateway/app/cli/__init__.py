"""Commands of ``oscc-gateway``."""
