"""Seeded bugs: the laws that matter, how each is broken, and the test that must notice.

``tests/test_seeds.py`` plants them. Add a seed when a law is new, not for each test; 60 are the limit. Prefer
public symbols and names that the law itself uses: a seed is placed by symbol (:mod:`tests.planting`).
"""

from __future__ import annotations

from typing import Final

from tests.planting import Compare, Condition, Drop, DropOperand, Entry, Return, Seed, Use, Value

MOST: Final = 60
"""How many seeds there may be."""

_P: Final = "tests/properties/"
_FUZZ: Final = "tests/fuzz/test_replay.py::test_what_a_search_found_keeps_its_promise"
_SEARCH: Final = "tests.simulation.run 0 150"
_LONG_SEARCH: Final = "tests.simulation.run 0 3000"

LEASE: Final = [
    Seed(
        "a node lets go of a lease earlier than the store does",
        "gateway.core.lease:Lease._extend",
        Use("GOOD_FOR_S", "TTL_S"),
        f"{_P}test_lease_properties.py::TestHolders",
    ),
    Seed(
        "a token at or below one that was seen grants nothing",
        "gateway.core.lease:Lease.granted",
        Condition("token floor", becomes=True),
        f"{_P}test_lease_properties.py::TestHolders",
    ),
    Seed(
        "an epoch that is assumed without the store is above all that were seen",
        "gateway.core.lease:Lease.assume",
        Value("epoch", "wall_us"),
        f"{_P}test_ownership_properties.py::TestOwnership",
    ),
]

LINK: Final = [
    Seed(
        "a silent link is not live",
        "gateway.core.link:LinkMachine.health",
        DropOperand("now"),
        f"{_P}test_link_properties.py::TestLinks",
    ),
    Seed(
        "two holders that replace each other's links come to rest",
        "gateway.core.link:LinkMachine.kicked",
        Condition("now", becomes=True),
        f"{_P}test_link_properties.py::test_rivals_come_to_rest",
    ),
]

BUS: Final = [
    Seed(
        "a bus that recovers is live only after a resync",
        "gateway.core.lease:BUS_TRANSITIONS",
        Entry("DOWN returned", "BusState.LIVE"),
        f"{_P}test_bus_state_properties.py::TestProbing",
    ),
    Seed(
        "an answer shows that a node can be reached",
        "gateway.core.follower:Peers.answered",
        Drop("silent_since"),
        f"{_P}test_peers_properties.py::TestListening",
    ),
    Seed(
        "a sealed message opens on its own channel only",
        "gateway.bus.sealing:Seals",
        Use("channel", "b''"),
        "tests/bus/test_sealing.py::test_another_channel_another_key_or_a_changed_bit_open_nothing",
    ),
    Seed(
        "no nonce is used twice",
        "gateway.bus.sealing:Seals.seal",
        Drop("_count 1"),
        "tests/bus/test_sealing.py::test_no_nonce_comes_twice_also_when_the_counter_is_used_up",
    ),
    Seed(
        "an envelope that is repeated is dropped",
        "gateway.bus.sealing:SenderInstances.judge",
        Compare("number", "<"),
        "tests/bus/test_lives.py::test_a_message_is_new_once",
    ),
    Seed(
        "nothing of a process that did not answer a challenge is believed",
        "gateway.bus.sealing:SenderInstances.greeted",
        Value("asked_at", "now"),
        "tests/bus/test_lives.py::test_nobody_is_believed_who_answered_no_challenge_of_this_process",
    ),
]

COMMANDS: Final = [
    Seed(
        "a retry runs only where its first attempt would be known",
        "gateway.core.commands:CommandRecords.begin",
        Condition("_remembers", becomes=False),
        f"{_P}test_calls_properties.py::TestCommands",
    ),
    Seed(
        "a key names one command",
        "gateway.core.commands:CommandRecords.find",
        Return("done.outcome", "outcome"),
        "tests/core/test_calls.py::test_a_key_names_one_command",
    ),
    Seed(
        "a new owner trusts only outcomes of its own epochs",
        "gateway.core.commands:CommandRecords.history",
        Drop("_enter"),
        f"{_P}test_calls_properties.py::TestCommands",
    ),
    Seed(
        "a command is sent upstream once",
        "gateway.runtime.command_execution:CommandExecution._send",
        Value(
            "withdraw",
            "[sender.link.send(request, partial(self._answered, call)) for _ in (1, 2)][1]",
        ),
        f"{_P}test_races_properties.py::TestRaces",
    ),
    Seed(
        "equal commands have equal fingerprints",
        "gateway.core.commands:_SORTED",
        Value("sort_keys", "False"),
        f"{_P}test_commands_properties.py::test_an_equal_command_has_an_equal_fingerprint",
    ),
    Seed(
        "values of another type are refused, not converted",
        "gateway.protocol.codec:_client_frame",
        Condition("_is_same", becomes=False),
        f"{_P}test_commands_properties.py::test_what_looks_like_a_value_is_none",
    ),
    Seed(
        "values up to the declared limits are accepted",
        "gateway.core.commands:_is_outside",
        Compare("high value", ">="),
        f"{_P}test_choices_properties.py::test_skills_pass_exactly_when_they_are_as_declared",
    ),
    Seed(
        "each reason is checked",
        "gateway.core.commands:check_wrap_up",
        Condition("kind", becomes=False),
        f"{_P}test_choices_properties.py::test_wrap_up_reasons_pass_exactly_when_they_are_declared_as_such",
    ),
    Seed(
        "numbers of the contact centre and denied numbers are refused",
        "gateway.edge.policies:NumberPolicy.admits",
        DropOperand("deny own"),
        f"{_P}test_numbers_properties.py::test_whatever_is_accepted_is_a_telephone_that_the_site_wants",
    ),
    Seed(
        "a command keeps the time for which it was asked",
        "gateway.upstream.oscce.messages:_routing_state",
        Entry("When", "'Now'"),
        f"{_P}test_state_rules.py::TestStateRules",
    ),
]

PHONES: Final = [
    Seed(
        "a result leaves after the state that it caused",
        "gateway.core.session:Live._result",
        Value("after_state", "False"),
        f"{_P}test_session_properties.py::TestConnections",
    ),
    Seed(
        "a session takes one hello",
        "gateway.core.session:TRANSITIONS",
        Entry("ATTACHING attached", "State.HELLO"),
        f"{_P}test_session_properties.py::TestConnections",
    ),
    Seed(
        "a closing session takes nothing in",
        "gateway.core.session:Session.receive",
        Condition("CLOSING", becomes=False),
        f"{_P}test_session_properties.py::TestConnections",
    ),
    Seed(
        "a connection that is replaced is taken out",
        "gateway.core.registry:Registry.add",
        Drop("_remove_phone"),
        f"{_P}test_registry_properties.py::TestNode",
    ),
    Seed(
        "a session stays refused until its token expires",
        "gateway.core.registry:Denylist.get",
        Condition("wall_ms", becomes=True),
        "tests/core/test_registry.py::test_an_end_is_known_until_the_token_expires_and_no_longer",
    ),
    Seed(
        "a log-off stands whoever logs on next",
        "gateway.core.registry:Denylist.clear",
        Condition("LOGGED_OFF", becomes=True),
        "tests/core/test_registry.py::test_a_logged_off_session_stays_refused_after_any_log_on",
    ),
    Seed(
        "phones of a drained node return no faster than the others accept",
        "gateway.core.drain_schedule:_drain_schedule",
        Value("low_s", "0.0"),
        f"{_P}test_drain_schedule_properties.py::test_no_choice_returns_faster_than_the_survivors_accept",
    ),
]

STATE: Final = [
    Seed(
        "a replica notices a gap",
        "gateway.core.ledger:Ledger.receive",
        DropOperand("after"),
        f"{_P}test_convergence.py::TestConvergence",
    ),
    Seed(
        "a phone resumes in its own stream only",
        "gateway.core.outbox:Outbox.begin",
        DropOperand("stream"),
        f"{_P}test_convergence.py::TestConvergence",
    ),
    Seed(
        "a key that leaves the view leaves the phone",
        "gateway.core.outbox:Outbox.change_view",
        Drop("setdefault held"),
        f"{_P}test_convergence.py::TestConvergence",
    ),
    Seed(
        "a newer change of a key that waits replaces the older one",
        "gateway.core.outbox:Outbox.mark",
        Condition("key dirty", becomes=False),
        f"{_P}test_convergence.py::TestConvergence",
    ),
    Seed(
        "a view contains nothing outside the scope",
        "gateway.core.view:_keys_of",
        DropOperand("scope"),
        f"{_P}test_view_properties.py::test_a_view_shows_nothing_outside_the_scope",
    ),
    Seed(
        "views of different scopes have different names",
        "gateway.core.view:_digest",
        Drop("scope"),
        f"{_P}test_convergence.py::TestConvergence",
    ),
    Seed(
        "a lower epoch is believed only when its owner is long unheard",
        "gateway.core.follower:FollowMachine.read",
        Value("is_right", "True"),
        f"{_P}test_follower_properties.py::TestFollowing",
    ),
]

WIRE: Final = [
    Seed(
        "a patch contains no field that is equal",
        "gateway.protocol.codec:_comparison",
        Value("body", """[f" changed['{name}'] = plain(after.{name})\\n" for name in _SHAPES[of].names]"""),
        f"{_P}test_codec_properties.py::test_equal_values_need_no_patch_and_have_one_fragment",
    ),
    Seed(
        "a msgpack map has the head of its size",
        "gateway.protocol.codec:_map_head",
        Compare("16", "<="),
        f"{_P}test_codec_properties.py::test_splices_of_any_size_can_be_read",
    ),
    Seed(
        "nothing follows a close frame",
        "gateway.protocol.websocket:Parser._control",
        Drop("_end"),
        f"{_P}test_websocket_properties.py::test_whatever_comes_is_read_the_same_and_ends_once",
    ),
    Seed(
        "a mask covers the whole payload",
        "gateway.protocol.websocket:unmask",
        Value("stretched", "(mask * (size // 4))[:size]"),
        f"{_P}test_websocket_properties.py::test_a_mask_comes_off_byte_by_byte",
    ),
]

LIMITS: Final = [
    Seed(
        "a bucket holds no more than its burst",
        "gateway.core.rate_limits:TokenBucket._level",
        Return("self.burst - (self._full_at - now) * self.rate_per_s"),
        f"{_P}test_throttle_properties.py::test_no_schedule_gets_more_than_the_rate",
    ),
    Seed(
        "attempts that are under way count as wrong passwords",
        "gateway.core.log_ons:LogOnGuard.is_busy",
        Use("under_way", "0"),
        f"{_P}test_throttle_properties.py::TestGuessing",
    ),
    Seed(
        "a node takes its part of the site's budget",
        "gateway.core.rate_limits:Budget.share",
        Drop("_in_flight_max"),
        f"{_P}test_throttle_properties.py::TestAsking",
    ),
    Seed(
        "places are entered in turn",
        "gateway.core.rate_limits:AdmissionQueue.enter",
        DropOperand("_firsts"),
        f"{_P}test_admission_queue_properties.py::TestQueueing",
    ),
    Seed(
        "a key does no more than its quota",
        "gateway.core.rate_limits:Quota.take",
        Compare("_most", ">"),
        f"{_P}test_admission_queue_properties.py::"
        "test_no_key_does_more_than_its_quota_and_none_waits_longer_than_needed",
    ),
]

FUZZED: Final = [
    Seed(
        "a frame with reserved bits is refused",
        "gateway.protocol.websocket:Parser._check",
        Condition("first _RESERVED", becomes=False),
        f"{_FUZZ}[websocket]",
    ),
    Seed(
        "all fragments count against the size of a message",
        "gateway.protocol.websocket:Parser._next_frame",
        Use("_fragments", "None"),
        f"{_FUZZ}[websocket]",
    ),
    Seed(
        "a key comes once in a JSON object",
        "gateway.protocol.codec:unique",
        Condition("key members", becomes=False),
        f"{_FUZZ}[json]",
    ),
    Seed(
        "the depth of msgpack values is limited",
        "gateway.protocol.codec:read_msgpack",
        Drop("check_msgpack_depth"),
        f"{_FUZZ}[msgpack]",
    ),
    Seed(
        "a token has one spelling",
        "gateway.edge.credentials:_decode",
        Return("raw", "raw"),
        f"{_FUZZ}[token]",
    ),
    Seed(
        "an expired token opens only within the grace",
        "gateway.edge.credentials:Tokens.open",
        Condition("grace_s", becomes=False),
        f"{_FUZZ}[token]",
    ),
    Seed(
        "a fault of a message does not repeat its values",
        "gateway.upstream.oscce.messages:_place",
        Return("str(error)"),
        f"{_FUZZ}[link]",
    ),
    Seed(
        "nothing follows a close frame of a server",
        "gateway.upstream.oscce.socket:Frames._control",
        Drop("_end"),
        f"{_FUZZ}[server]",
    ),
]

CLUSTER: Final = [
    Seed(
        "a drained node hands its users over",
        "gateway.runtime.handover:Handover._reason",
        Condition("is_draining", becomes=False),
        _SEARCH,
        deep=True,
    ),
    Seed(
        "a node forgets connections that are gone",
        "gateway.runtime.node:Node.detach",
        Value("ticket", "self._tickets.get(connection)"),
        _SEARCH,
    ),
    Seed(
        "a retry is not refused for the clock of another node",
        "gateway.core.commands:deadline_ms",
        Condition("retry", becomes=False),
        "tests/core/test_admission.py::test_a_deadline_is_ahead_but_not_far_and_only_the_owner_knows_of_what_comes_again",
    ),
    Seed(
        "sessions of a dead node end",
        "gateway.runtime.user_state:Owner._see_who_left",
        Drop("leave node"),
        "tests.simulation.run 150 500 --orphaned",
    ),
    Seed(
        "a deadline crosses nodes as time that is left",
        "gateway.runtime.cluster_receiver:ClusterReceiver._call",
        Condition("left_ms", becomes=False),
        f"{_LONG_SEARCH} --stalled",
        deep=True,
    ),
    Seed(
        "a node that hands over waits for commands in flight",
        "gateway.runtime.command_execution:CommandExecution.give",
        Condition("in_flight", becomes=False),
        _LONG_SEARCH,
        deep=True,
    ),
]

SEEDS: Final = [
    *LEASE,
    *LINK,
    *BUS,
    *COMMANDS,
    *PHONES,
    *STATE,
    *WIRE,
    *LIMITS,
    *FUZZED,
    *CLUSTER,
]
