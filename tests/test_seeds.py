"""Each seeded bug is noticed by the test that guards its law.

``make test`` checks that seeds have their places, ``make seeded`` plants them, and ``make properties`` also
those that take long.
"""

from __future__ import annotations

import ast
import os
from typing import Final

import pytest

from tests.planting import (
    SIMULATION,
    Compare,
    Condition,
    Drop,
    DropOperand,
    Entry,
    MisplacedError,
    Operator,
    Return,
    Seed,
    Use,
    Value,
    judge,
    planted,
)
from tests.seeds import MOST, SEEDS

DEEP: Final = os.environ.get("HYPOTHESIS_PROFILE", "fast") == "deep"
KILLERS: Final = sorted({seed.killer for seed in SEEDS if not seed.killer.startswith(SIMULATION)})
SAMPLE: Final = """
TABLE = {("held", "ask"): 1, ("free", "ask"): 2}

class Bucket:
    level = 1

    def take(self, now, amount):
        self.fill(now)
        self.at = now
        if now >= self.until and amount < 3 or self.open:
            return [one for one in self.all if one.due > now]
        return send(amount, after=True)
"""


def test_laws_are_named_once_and_few() -> None:
    assert len(SEEDS) <= MOST
    assert len({seed.law for seed in SEEDS}) == len(SEEDS)


def test_every_seed_has_its_place() -> None:
    for seed in SEEDS:
        compile(planted(seed), seed.symbol, "exec")


@pytest.mark.seeded
@pytest.mark.timeout(700)
@pytest.mark.parametrize("seed", [seed for seed in SEEDS if DEEP or not seed.deep], ids=lambda seed: seed.law)
def test_a_broken_law_is_noticed(seed: Seed) -> None:
    verdict = judge(seed.killer, seed)
    assert verdict.killed, f"{seed} survives:\n{verdict.output}"


@pytest.mark.seeded
@pytest.mark.timeout(700)
@pytest.mark.parametrize("killer", [*(KILLERS if DEEP else KILLERS[:1]), f"{SIMULATION} 0 10"])
def test_without_a_seed_its_killer_passes(killer: str) -> None:
    verdict = judge(killer, None)
    assert verdict.passed, verdict.output


# ---- the machinery ----


@pytest.mark.parametrize(
    ("operator", "gone", "stands"),
    [
        (Drop("fill"), "self.fill(now)", "pass"),
        (Drop("at"), "self.at = now", "pass"),
        (Condition("until"), "if now >=", "if not (now >= self.until and amount < 3 or self.open):"),
        (Condition("due", becomes=True), "one.due > now", "if True]"),
        (Condition("until", becomes=False), "until", "if False:"),
        (Return("None", "send"), "send(", "return None"),
        (Compare("until", "<"), "now >= self.until", "now < self.until"),
        (DropOperand("amount"), "amount < 3", "if now >= self.until and True or self.open:"),
        (Value("after", "False"), "after=True", "after=False"),
        (Value("level", "2"), "level = 1", "level = 2"),
        (Use("amount", "0"), "amount <", "send(0, after=True)"),
        (Use("all", "()"), "self.all", "in ()"),
        (Entry("held", "3"), "'ask'): 1", "('held', 'ask'): 3"),
        (Entry("free"), "free", "{('held', 'ask'): 1}"),
    ],
    ids=str,
)
def test_an_operator_changes_one_place(operator: Operator, gone: str, stands: str) -> None:
    tree = ast.parse(SAMPLE)
    before = ast.unparse(tree)
    operator.apply(tree)
    after = ast.unparse(tree)
    assert gone in before
    assert gone not in after
    assert stands in after


@pytest.mark.parametrize(
    "operator",
    [
        Drop("nothing"),
        Drop("now"),
        Condition("nothing"),
        Return("None"),
        Compare("now", "<"),
        DropOperand("nothing"),
        Value("nothing", "1"),
        Use("nothing", "1"),
        Entry("ask"),
    ],
    ids=str,
)
def test_a_place_that_is_missing_or_ambiguous_is_an_error(operator: Operator) -> None:
    with pytest.raises(MisplacedError, match="fits"):
        operator.apply(ast.parse(SAMPLE))


@pytest.mark.parametrize("symbol", ["Lease.gone", "Gone.ask", "gone"])
def test_a_symbol_that_is_gone_is_an_error(symbol: str) -> None:
    seed = Seed("a law", f"gateway.core.lease:{symbol}", Drop("x"), "")
    with pytest.raises(MisplacedError, match=r"a law.*is defined 0 times"):
        planted(seed)
