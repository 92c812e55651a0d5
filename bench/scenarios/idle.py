"""How much memory does a phone take that is connected and hears nothing?

Resident memory of the server with all connections minus that of the fresh process, so everything that a phone
brings about is in it. With TLS the gateway's own listener encrypts; peers are asked for clear text only.
"""

from __future__ import annotations

from bench.case import DEFAULT_PACE, Case, Scale, thousands
from bench.work import Work


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    found: list[Case] = []
    for phones in scale.phones(10_000, 19_500):
        plain = Work(phones, duration_s=1, warmup_s=0.5, settle_s=3)
        found.append(Case(f"{thousands(phones)} phones", plain, DEFAULT_PACE, with_peers=True))
        sealed = Work(phones, duration_s=1, warmup_s=0.5, settle_s=3, tls=True)
        found.append(Case(f"{thousands(phones)} phones, TLS", sealed))
    return found
