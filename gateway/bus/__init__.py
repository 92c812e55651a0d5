"""Adapters of the Bus, Leases, NodeRegistry and SharedStore ports: memory, Redis and Redis Cluster."""
