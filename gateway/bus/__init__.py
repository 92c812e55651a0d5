"""How nodes reach each other: the Bus and Leases ports on one process's memory."""
