"""What is this package? The OSCC gateway: one authenticated link per user, mirrored live to thin clients.

Floors, from the top: app, client, edge | bus | upstream | simulator, runtime, telemetry, core,
protocol, domain. Imports only ever point down; ``docs/architecture.md`` says why.
"""

__version__ = "0.1.0"
