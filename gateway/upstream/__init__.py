"""How an OSCC-E Server is spoken to."""
