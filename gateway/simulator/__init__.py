"""A complete OSCC-E Server for development, demos and tests, on the reference link protocol v1.

It shares no code with the gateway. ``oscc-gateway simulate`` starts one; ``async with
Simulator(SimulatorSettings(...)) as simulator`` is one in this process.
"""

from gateway.simulator.server import Simulator
from gateway.simulator.settings import Clock, ManualClock, RealClock, SimulatorSettings

__all__ = ["Clock", "ManualClock", "RealClock", "Simulator", "SimulatorSettings"]
