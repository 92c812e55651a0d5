"""Faulty clients that the kit must detect.

Each is the JavaScript SDK with one place of its text changed, and the check that must tell.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Fault(NamedTuple):
    """One seeded fault."""

    found_by: str
    right: str
    """Stands once in the SDK's text."""
    wrong: str


FAULTS: Final[dict[str, Fault]] = {
    # ---- the mirror ----
    "takes in what came before": Fault(
        "mirror.duplicate", "|| frame.after !== position.seq)", "|| frame.after > position.seq)"
    ),
    "takes in what follows a gap": Fault(
        "mirror.gap", "|| frame.after !== position.seq)", "|| frame.after < position.seq)"
    ),
    "never asks for what was lost": Fault("mirror.gap", "this.#send({kind: 'resync'});", ""),
    "asks for what was lost all the time": Fault(
        "mirror.resync_rate", "const RESYNC_MS = 5_000;", "const RESYNC_MS = 200;"
    ),
    "overlooks a gap that a ping shows": Fault(
        "mirror.gap_at_ping",
        "if (position.seq !== after || upto < after) return this.#gap();",
        "if (position.seq !== after) return [];",
    ),
    "shows half a reset": Fault("mirror.split_reset", "frame.more ? 'held' : ", ""),
    "keeps half a reset over a lost connection": Fault(
        "mirror.split_cut",
        "    this.#state.reopen();\n    this.#send({kind: 'hello'",
        "    this.#send({kind: 'hello'",
    ),
    "merges what replaces": Fault(
        "mirror.put",
        "news.set(key, valueOf(value));",
        "news.set(key, valueOf({...this.values.get(key), ...value}));",
    ),
    "knows no field that was added lately": Fault(
        "mirror.fields_of_agents",
        ".filter(([, member]) => member !== null)",
        ".filter(([name, member]) => member !== null && name !== 'pending_reason_id')",
    ),
    "knows no skills of a queue": Fault(
        "mirror.fields_of_queues",
        ".filter(([, member]) => member !== null)",
        ".filter(([name, member]) => member !== null && name !== 'skill_ids')",
    ),
    "keeps what null clears": Fault("mirror.patch", ".filter(([, member]) => member !== null)", ""),
    "keeps what a reset forgets": Fault(
        "mirror.reset", "reset ? [...this.values.keys()].map((key) => [key, undefined]) : []", "[]"
    ),
    "makes a value of a patch alone": Fault(
        "mirror.patch_of_nothing", "if (!before) return this.#gap();", ""
    ),
    "stays in the old stream": Fault(
        "mirror.new_stream",
        "stream: stream ?? this.position?.stream ?? ''",
        "stream: this.position?.stream ?? stream ?? ''",
    ),
    "stands still at a ping": Fault(
        "mirror.ping_moves", "this.position = {stream: position.stream, seq: upto};", ""
    ),
    "stumbles over a kind that it does not know": Fault(
        "mirror.unknown_kinds",
        "if (typeof frame?.kind !== 'string') fail('kind');",
        "if (!['welcome', 'changes', 'ping', 'bye'].includes(frame?.kind)) fail('kind');",
    ),
    "reads msgpack's negative numbers wrong": Fault("transport.content_msgpack", "type - 256", "256 - type"),
    # ---- where it goes on ----
    "resumes where it was before": Fault(
        "resuming.position",
        "position: this.position ?? undefined",
        "position: this.position ? {...this.position, seq: this.position.seq - 3} : undefined",
    ),
    "does not resume": Fault("resuming.position", "position: this.position ?? undefined,", ""),
    "goes without bye": Fault("resuming.background", "if (this.#live?.open) this.#send({kind: 'bye'});", ""),
    "comes back in the background": Fault(
        "resuming.background_while_waiting",
        "    this.#next = null;\n    this.#arm();\n  }",
        "    this.#arm();\n  }",
    ),
    "waits in the foreground, too": Fault(
        "resuming.foreground", "this.#next.at = Math.min(this.#next.at, this.#hurriedAt);", ""
    ),
    "tries at every foreground": Fault(
        "resuming.once_per_2_s", "const HURRY_MS = 2_000;", "const HURRY_MS = 0;"
    ),
    "forgets the topics that it follows": Fault(
        "greeting.follow_lasts", "    this.#wishes.topics = asked;\n", ""
    ),
    "shows its token to every log": Fault(
        "greeting.no_token_in_url", "/v1/realtime`;", "/v1/realtime?token=${this.session.token}`;"
    ),
    "speaks before it is welcomed": Fault(
        "greeting.silent_before_welcome",
        "    live.hello = {...this.#wishes};\n",
        "    live.hello = {...this.#wishes};\n"
        "    queueMicrotask(() => this.#send({kind: 'pace', every_s: 1}));\n",
    ),
    # ---- endings ----
    "comes back after a terminal code": Fault("endings.4001", "if (verdict === 'stop' || ", "if ("),
    "holds data after the end": Fault(
        "endings.4005", "    this.#forget();\n    this.#show('gone'", "    this.#show('gone'"
    ),
    "takes RFC 6455's own codes for the end": Fault(
        "endings.1012", "if ([1001, 1006, 1011, 1012, 1013].includes(code))", "if (code === 1006)"
    ),
    "does not log on again": Fault("endings.4300", "43: 'log_on'", "43: 'back_off'"),
    "tries a wrong password again": Fault(
        "endings.log_on_refused",
        "if (retry) this.#recover(ending, 0); else this.#end(ending);",
        "this.#recover(ending, 0);",
    ),
    # ---- waits ----
    "ignores the window": Fault(
        "coming_back.window", "minS == null && maxS == null ? backedOffS", "true ? backedOffS"
    ),
    "comes at the beginning of every window": Fault(
        "coming_back.window_spreads", "low + this.#env.random() * span", "low"
    ),
    "waits no longer after many failures": Fault(
        "coming_back.grows", "Math.min(20, 0.5 * 2 ** Math.min(this.#failures++, 10))", "0.5"
    ),
    "waits longer and longer without an end": Fault(
        "coming_back.bounded", "Math.min(20, 0.5 * 2 **", "Math.min(90, 0.5 * 2 **"
    ),
    "forgets its failures at once": Fault(
        "coming_back.stable", "const STABLE_MS = 30_000;", "const STABLE_MS = 1_000;"
    ),
    "waits for ever on a silent gateway": Fault(
        "liveness.gives_up", "const GRACE_MS = 10_000;", "const GRACE_MS = 60_000;"
    ),
    "has no patience": Fault(
        "liveness.any_frame_counts", "const GRACE_MS = 10_000;", "const GRACE_MS = 1_000;"
    ),
    "trusts a network that changed": Fault(
        "liveness.network_changed", "this.#live.probeBy = this.#env.now() + PROBE_MS;", ""
    ),
    "answers pings without their nonce": Fault(
        "liveness.pong",
        "this.#send({kind: 'pong', nonce: ping.nonce});",
        "this.#send({kind: 'pong', nonce: '1'});",
    ),
    "hides how old the data is": Fault(
        "liveness.health", "asOfMs: asOfMs ?? null", "asOfMs: this.#env.wall()"
    ),
    # ---- commands ----
    "makes deadlines of its own clock": Fault(
        "commands.deadline_behind", "time = this.serverTimeMs(), key", "time = this.#env.wall(), key"
    ),
    "keeps the clock of another node": Fault("commands.deadline_moves", "    this.#time.reset();\n", ""),
    "repeats with another key": Fault(
        "commands.repeated",
        "this.#send({...frame, retry: true});",
        "this.#send({...frame, key: this.#env.uuid(), retry: true});",
    ),
    "does not say that it repeats": Fault(
        "commands.repeated", "this.#send({...frame, retry: true});", "this.#send(frame);"
    ),
    "does not repeat": Fault("commands.repeated", "this.#send({...frame, retry: true});", ""),
    "keeps commands for later": Fault(
        "commands.not_queued",
        "if (!this.#live?.welcome || !position || time === null)",
        "if (!position || time === null)",
    ),
    "sends what is longer than a gateway takes": Fault(
        "commands.too_long", "const FRAME_BYTES_MAX = 16 * 1024;", "const FRAME_BYTES_MAX = 64 * 1024;"
    ),
    "repeats what is unknown": Fault(
        "commands.unknown_stays",
        "    this.#commands.delete(id);\n",
        "    if (outcome.status !== 'unknown') this.#commands.delete(id);\n",
    ),
    "leaves a command without outcome": Fault(
        "commands.session_over", "for (const id of [...this.#commands.keys()]) this.#settle(id, lost);", ""
    ),
    # ---- the session ----
    "keeps the old token": Fault(
        "session.renewed",
        "session.#kept = {...session.#kept, token, expiresAtMs};",
        "session.#kept = {...session.#kept, expiresAtMs};",
    ),
    "takes over unasked": Fault("session.take_over", "takeover: takeover || undefined", "takeover: true"),
    "takes pending for confirmed": Fault("session.log_off_pending", "if (status !== 202) break;", "break;"),
    "overlooks when a log-off is to be repeated": Fault(
        "session.log_off_again", "        retryInS = waitOf(body);\n", ""
    ),
    "asks again before it may": Fault(
        "session.log_off_later", "const waitS = retryInS ?? backedOffS;", "const waitS = backedOffS;"
    ),
    "forgets what was acknowledged": Fault(
        "notices.accepted_later", "    this.session.accept({id, version});\n", ""
    ),
    "stumbles over a stranger's answer": Fault(
        "http.no_gateway",
        "if (status >= 200 && status < 300 && isObject)",
        "if (status >= 200 && status < 300)",
    ),
    "loses the details of a refusal": Fault(
        "session.take_over",
        "{status, retryAfterS: waitOf(members) ?? retryAfterS, details}",
        "{status}",
    ),
}
