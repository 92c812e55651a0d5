"""What stands between a node and the OSCC-E Servers of its sites?"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.app.counted_authority import CountedAuthority
from gateway.app.counted_upstream import CountedUpstream
from gateway.app.surroundings import Reach
from gateway.app.tracing import Tracing
from gateway.runtime.parts import Site
from gateway.telemetry import Telemetry
from gateway.upstream.client import OsccServer


def counted_sites(
    servers: Mapping[str, OsccServer], telemetry: Telemetry, tracing: Tracing, reaches: Mapping[str, Reach]
) -> Mapping[str, Site]:
    """Return the sites of *servers*: counted, traced, and each noted in *reaches*, all by the site's id."""
    return {
        site: Site(
            tracing.upstream(CountedUpstream(server, telemetry, reaches[site])),
            CountedAuthority(server, site, telemetry, reaches[site]),
        )
        for site, server in servers.items()
    }
