"""Run Autobahn's test suite against a server.

Run as a program of its own, which prints the verdicts as JSON: to run the cases changes the interpreter.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from kosoku import FailureError, run_fuzzingclient


async def drive(url: str, *cases: str) -> None:
    """Run *cases* against *url*, one after the other; print one verdict each."""
    try:
        results = await run_fuzzingclient(url, cases)
    except FailureError as failure:
        results = failure.results
    verdicts = [
        {
            "case": result.case_id,
            "behavior": result.behavior.value,
            "closing": result.behavior_close.value,
            "code": result.remote_close_code,
            "said": f"{result.result} {result.result_close}",
            "answer": result.http_response,
        }
        for result in results
    ]
    sys.stdout.write(json.dumps(verdicts))


if __name__ == "__main__":
    asyncio.run(drive(*sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # its threads may outlive the interpreter, which then aborts
