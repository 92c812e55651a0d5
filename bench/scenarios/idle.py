"""Memory of a phone that is connected and receives nothing.

The figure is the server's resident memory with all connections minus that of the new process, per phone: it
includes everything that a phone causes. With TLS the gateway's own listener encrypts; peers have no TLS case.
"""

from __future__ import annotations

from bench.case import Case, Scale, thousands
from bench.work import Work

PHONES = (10_000, 19_500)
PEERS_PHONES = 10_000


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    sealed = sorted({min(phones, scale.sealed_most) for phones in scale.phones(*PHONES)})
    return [
        *(
            _case(f"{thousands(phones)} phones", _work(phones), with_peers=phones <= PEERS_PHONES)
            for phones in scale.phones(*PHONES)
        ),
        *(_case(f"{thousands(phones)} phones, TLS", _work(phones, tls=True)) for phones in sealed),
    ]


def _work(phones: int, *, tls: bool = False) -> Work:
    return Work(phones, duration_s=0.2, warmup_s=0.1, settle_s=3, tls=tls)


def _case(name: str, work: Work, *, with_peers: bool = False) -> Case:
    # memory hardly varies between runs, so one run is enough
    return Case(name, work, with_peers=with_peers, group="tls" if work.tls else "clear", runs=1)
