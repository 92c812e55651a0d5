"""How fast and how small is the gateway, and where does it stand among its peers?"""
