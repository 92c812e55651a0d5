"""Checks: a client holds exactly the data that it received."""

from __future__ import annotations

from typing import Final

from tests.conformance.phone import Phone
from tests.conformance.registry import check, live
from tests.conformance.saying import LIMITS, changes
from tests.conformance.stage import SALES, Stage
from tests.conformance.timing import expect
from tests.conformance.values import VALUES

_LOST: Final = (
    "When `after` differs from the client's `seq` and the frame has no `reset`, "
    "a change was lost. Send `resync`."
)
_SPLIT: Final = (
    "A client shows a reset when its last part has arrived, and keeps its old position until then."
)
_TWO: Final = {"queue:2": {"name": "Two"}}


@live("mirror.put", "`put` replaces a value whole.")
async def put(stage: Stage, phone: Phone) -> None:
    """A field that the new value lacks is gone."""
    await phone.send(changes(5, 6, put={"queue:1": {"name": "Sales and more"}}))
    await phone.ping(6)
    await stage.holds("put replaces", queue__1={"name": "Sales and more"})


@check("mirror.patch", "`patch` merges fields, one level deep; `null` clears one")
async def patch(stage: Stage) -> None:
    """Fields merge, not what is inside them."""
    value = {"name": "Ada", "media": {"voice": "on", "email": "on"}, "reason_id": "3", "level": 1}
    phone = await stage.live(put={"agent:7": value})
    fields = {"media": {"voice": "off"}, "reason_id": None, "state": "work"}
    await phone.send(changes(5, 6, patch={"agent:7": fields}))
    await phone.ping(6)
    agent = {"name": "Ada", "media": {"voice": "off"}, "level": 1, "state": "work"}
    await stage.holds("patch merges one level deep", agent__7=agent)


@check("mirror.gone", "`gone` removes keys.")
async def gone(stage: Stage) -> None:
    """A key that is gone is held no more, also one that was never held."""
    phone = await stage.live(put={**SALES, **_TWO})
    await phone.send(changes(5, 6, gone=["queue:1", "queue:77"]))
    await phone.ping(6)
    await stage.holds("gone removes", queue__2={"name": "Two"})


async def _every_field(stage: Stage, *prefixes: str) -> None:
    """Have every field in a put, then each in a patch of its own, then in a put again."""
    values = {key: value for key, value in VALUES.items() if key.startswith(prefixes)}
    wanted = {key.replace(":", "__"): value for key, value in values.items()}
    phone = await stage.live(put=values)
    await phone.ping(5)
    await stage.holds("a field of a put is lost", **wanted)
    seq = 5
    for key, value in values.items():
        for name, member in value.items():
            await phone.send(changes(seq, seq + 1, patch={key: {name: None}}))
            await phone.send(changes(seq + 1, seq + 2, patch={key: {name: member}}))
            seq += 2
    await phone.ping(seq)
    await stage.holds("a field of a patch is lost", **wanted)


@check("mirror.fields_of_agents", "| `routing_state_by` R |")
async def fields_of_agents(stage: Stage) -> None:
    """Every field that the page lists is held, and patched."""
    await _every_field(stage, "agent:")


@check("mirror.fields_of_queues", "| `skill_ids[]` |")
async def fields_of_queues(stage: Stage) -> None:
    """Every field that the page lists is held, and patched; so of groups and aggregates."""
    await _every_field(stage, "queue:", "group:", "aggregate:")


@check("mirror.fields_of_catalogues", "Values are total: a field that is absent from a `put` is `null`.")
async def fields_of_catalogues(stage: Stage) -> None:
    """Every field that the page lists is held, and patched, of `me` and `site` too."""
    await _every_field(stage, "site", "me", "catalogue:")


@check("mirror.null", "a field that is absent from a `put` is `null`")
async def null(stage: Stage) -> None:
    """A field that is null in a put is like one that is absent."""
    phone = await stage.live(put={"queue:1": {"name": "Sales", "oldest_since_ms": None}})
    await phone.ping(5)
    await stage.holds("null is absent", queue__1={"name": "Sales"})


@check(
    "mirror.reset",
    "a frame with `reset` has `after` 0 and a `stream`.",
)
async def reset(stage: Stage) -> None:
    """Nothing of before is left, and the lower position holds."""
    phone = await stage.live(seq=50)
    await phone.send(changes(0, 3, stream="2.b", reset=True, put=_TWO))
    await phone.send(changes(3, 4, patch={"queue:2": {"contacts_waiting": 1}}))
    await phone.ping(4)
    await stage.holds("reset forgets", queue__2={"name": "Two", "contacts_waiting": 1})


@live("mirror.split_reset", _SPLIT)
async def split_reset(stage: Stage, phone: Phone) -> None:
    """A reset in three parts is seen whole or not at all."""
    await phone.send(changes(0, 0, stream="2.a", reset=True, more=True, put=_TWO))
    await phone.send(changes(0, 0, more=True, put={"queue:3": {"name": "Three"}}))
    await phone.settle()
    await stage.holds("a part of a reset is seen", queue__1=SALES["queue:1"])
    await phone.send(changes(0, 9, put={"queue:4": {"name": "Four"}}))
    await phone.ping(9)
    await stage.holds(
        "a reset in parts", queue__2={"name": "Two"}, queue__3={"name": "Three"}, queue__4={"name": "Four"}
    )


@live("mirror.split_cut", _SPLIT)
async def split_cut(stage: Stage, phone: Phone) -> None:
    """When the connection is lost between the parts, the old position and the old values hold."""
    await phone.send(changes(0, 0, stream="2.a", reset=True, more=True, put=_TWO))
    await phone.settle()
    phone.drop()
    again = await stage.greeted(position={"stream": "1.a", "seq": 5})
    await again.welcome(resumed=True)
    await again.send(changes(5, 6, patch={"queue:1": {"contacts_waiting": 4}}))
    await again.ping(6)
    await stage.holds("parts cut short are forgotten", queue__1={"name": "Sales", "contacts_waiting": 4})


@live(
    "mirror.split_changes",
    "A large answer is split: all parts but the last have `more` and `upto` = `after`.",
)
async def split_changes(stage: Stage, phone: Phone) -> None:
    """An answer that is no reset may be split, too; its parts build on each other."""
    await phone.send(changes(5, 5, more=True, put=_TWO))
    await phone.send(changes(5, 5, more=True, patch={"queue:2": {"contacts_waiting": 2}}))
    await phone.send(changes(5, 8, gone=["queue:1"]))
    await phone.ping(8)
    await stage.holds("an answer in parts", queue__2={"name": "Two", "contacts_waiting": 2})


@live("mirror.split_anew", "No other frame comes between the parts.")
async def split_again(stage: Stage, phone: Phone) -> None:
    """A reset that begins while parts of another wait takes their place."""
    await phone.send(changes(0, 0, stream="2.a", reset=True, more=True, put=_TWO))
    await phone.send(changes(0, 7, stream="3.a", reset=True, put={"queue:3": {"name": "Three"}}))
    await phone.ping(7)
    await stage.holds("a newer reset replaces a part of an older one", queue__3={"name": "Three"})


@check("mirror.new_stream", "A frame with `stream` starts a new stream")
async def new_stream(stage: Stage) -> None:
    """`after` is of the old stream, `upto` of the new one, and lower here."""
    phone = await stage.live(seq=50)
    await phone.send(changes(50, 2, stream="2.b", patch={"queue:1": {"contacts_waiting": 4}}))
    await phone.send(changes(2, 3, patch={"queue:1": {"contacts_waiting": 5}}))
    await phone.ping(3)
    await stage.holds("the stream changed in place", queue__1={"name": "Sales", "contacts_waiting": 5})
    phone.drop()
    await stage.greeted(position={"stream": "2.b", "seq": 3})


@check(
    "mirror.scope", "A change of scope, rights, topics or epoch neither closes a connection nor resets it."
)
async def scope(stage: Stage) -> None:
    """What left the scope is forgotten, what came into it is held, and nothing else happens."""
    phone = await stage.live(put={**SALES, **_TWO, "me": {"scope_size": 2}})
    news = {
        "put": {"queue:3": {"name": "Three"}},
        "patch": {"me": {"scope_size": 1}},
        "gone": ["queue:1", "queue:2"],
    }
    await phone.send(changes(5, 5, stream="1.z", **news))
    await phone.ping(5)
    await stage.holds("the scope changed", queue__3={"name": "Three"}, me={"scope_size": 1})
    expect(len(stage.gateway.phones) == 1, "the client connected again")


@live("mirror.gap", _LOST)
async def gap(stage: Stage, phone: Phone) -> None:
    """After a gap nothing changes until the reset that was asked for."""
    await phone.send(changes(7, 8, patch={"queue:1": {"contacts_waiting": 99}}))
    await phone.receive("resync")
    await phone.send(changes(8, 9, put=_TWO))
    await phone.settle()
    await stage.holds("something was lost", queue__1=SALES["queue:1"])
    await phone.send(changes(0, 9, stream="1.a", reset=True, put=_TWO))
    await phone.ping(9)
    await stage.holds("the reset came", queue__2={"name": "Two"})


@live("mirror.duplicate", _LOST)
async def duplicate(stage: Stage, phone: Phone) -> None:
    """A frame that comes twice is not taken in twice: its second coming does not continue what is held."""
    once = changes(5, 6, patch={"queue:1": {"contacts_waiting": 4}})
    await phone.send(once, changes(6, 7, patch={"queue:1": {"contacts_waiting": 5}}), once)
    await phone.receive("resync")
    await stage.holds("an old frame came again", queue__1={"name": "Sales", "contacts_waiting": 5})
    await phone.send(changes(0, 7, stream="1.a", reset=True, put=_TWO))
    await phone.ping(7)
    await stage.holds("the reset came", queue__2={"name": "Two"})


@live("mirror.patch_of_nothing", "A `patch` of a key that the client does not hold is a lost change, too")
async def patch_of_nothing(stage: Stage, phone: Phone) -> None:
    """A patch of a value that the client does not hold is a lost change: the client does not apply it."""
    await phone.send(changes(5, 6, patch={"queue:8": {"contacts_waiting": 1}}))
    await phone.receive("resync")
    await stage.holds("a patch had nothing to go on", queue__1=SALES["queue:1"])


@live("mirror.gap_at_ping", _LOST)
async def gap_at_ping(stage: Stage, phone: Phone) -> None:
    """The position in a ping shows a lost change, too."""
    await phone.ping(9, 9)
    await phone.receive("resync")


@live("mirror.resync_rate", "asks for a reset; once per 5 s", scale=4.0)
async def resync_rate(stage: Stage, phone: Phone) -> None:
    """However much is lost, a reset is asked for once per 5 s; and again when it does not come."""
    await phone.send(changes(7, 8))
    await phone.receive("resync")
    asked_at = stage.time.now()
    for seq in range(20, 30):
        await phone.send(changes(seq, seq + 1))
    await phone.hears_nothing(4.0)
    await phone.receive("resync", within_s=12.0)
    stage.within(stage.time.now() - asked_at, 5.0, 7.5, "the second resync")


@live(
    "mirror.ping_moves",
    "`upto` of a `ping` is higher than `after` when the only changes since `after` are outside",
)
async def ping_moves(stage: Stage, phone: Phone) -> None:
    """What follows a ping continues at its `upto`, also in the next hello."""
    await phone.ping(5, 42)
    await phone.send(changes(42, 43, patch={"queue:1": {"contacts_waiting": 7}}))
    await phone.ping(43, 60)
    await stage.holds("the ping moved the reader", queue__1={"name": "Sales", "contacts_waiting": 7})
    phone.drop()
    await stage.greeted(position={"stream": "1.a", "seq": 60})


@check("mirror.unknown_fields", "Both sides ignore unknown fields.")
async def unknown_fields(stage: Stage) -> None:
    """Fields of a later version are ignored in frames and held in values."""
    phone = await stage.begin()
    await phone.serve(put=SALES, seq=5, weather="fine", limits={**LIMITS, "moons": 2})
    await phone.send(changes(5, 6, put={"queue:2": {"name": "Two", "new_field": {"deep": [1]}}}, hue="blue"))
    await phone.ping(6, mood="good")
    two = {"name": "Two", "new_field": {"deep": [1]}}
    await stage.holds("fields are not known", queue__1=SALES["queue:1"], queue__2=two)


@check("mirror.unknown_kinds", "A client ignores unknown kinds of frame.")
async def unknown_kinds(stage: Stage) -> None:
    """A frame of a kind of a later version changes nothing, before the welcome and after it."""
    phone = await stage.begin()
    hello = await phone.receive("hello")
    expect(hello["kind"] == "hello", "no hello")
    await phone.send({"kind": "fanfare", "after": 1, "upto": 2})
    await phone.welcome()
    await phone.send(changes(0, 5, stream="1.a", reset=True, put=dict(SALES)))
    await phone.send({"kind": "changes2", "after": 5, "upto": 9, "put": _TWO}, {"kind": "hint", "id": None})
    await phone.ping(5)
    await stage.holds("kinds are not known", queue__1=SALES["queue:1"])
    expect(len(stage.gateway.phones) == 1, "the client connected again")


@check("mirror.unknown_resources", "A client ignores unknown kinds of frame.")
async def unknown_resources(stage: Stage) -> None:
    """A key of a kind of a later version is held like every other and upsets nothing."""
    phone = await stage.live(put={**SALES, "planet:mars": {"name": "Mars"}})
    await phone.ping(5)
    await stage.holds("a kind is not known", queue__1=SALES["queue:1"], planet__mars={"name": "Mars"})
