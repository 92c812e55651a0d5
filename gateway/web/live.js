/** The newest state and its age: the mirror, updated once a frame, and a clock that stops with the data. */
import {framed} from './ui.js';

const FRAMES_APART_MS = 120;
/** With the frame that follows, "Not connected" stands before 2 s have passed since data was shown as live. */
const GRACE_MS = 1500;
const LINKED = new Set(['live', 'stale', 'down']);
const KEEP_ACTS = 100;

/**
 * Invariants: realtime data lives here and in the mirror only; `now()` never runs ahead of data that has
 * stopped; a command's answer changes nothing here, only the mirror does.
 */
export class Live {
  /**
   * @param {import('./oscc-client.js').Connection} connection
   * @param {string[]|null} capabilities of the gateway; null: not known, the gateway will say
   * @param {string[]} topics that are asked for from the start
   */
  constructor(connection, capabilities, topics = []) {
    this.connection = connection;
    this.capabilities = capabilities && new Set(capabilities);
    this.changed = new Set();
    this.readers = new Set();
    this.tickers = new Set();
    this.acts = [];
    this.topics = null;
    this.wanted = new Set(topics);
    this.coming = null;
    this.mode = 'connecting';
    this.brokenAt = null;
    this.whole = false;
    this.heardMs = null;
    this.shownMs = null;
    this.tell = framed(() => this.flush(), FRAMES_APART_MS);
    connection.addEventListener('changes', ({detail}) => {
      this.heardMs = connection.serverTimeMs();
      for (const {key} of detail) this.touch(key);
      this.arrive();
    });
    connection.addEventListener('sync', () => {
      this.whole = true;
      this.topics ??= new Set(connection.welcome?.topics?.granted ?? []);
      if (this.coming) this.coming.stream ??= connection.position?.stream ?? null;
      this.everything();
    });
    connection.addEventListener('link', () => this.look());
    this.turn = () => this.turned();
    document.addEventListener('visibilitychange', this.turn);
    this.tickWhileSeen();
  }

  /** @param {string[]|null} capabilities of the gateway; null: not known, the gateway will say */
  capable(capabilities) {
    this.capabilities = capabilities && new Set(capabilities);
    this.everything();
  }

  end() {
    clearInterval(this.timer);
    document.removeEventListener('visibilitychange', this.turn);
  }

  /** Whether the page is hidden and has no alerts to give. */
  get unseen() {
    return document.hidden && !this.staysOn();
  }
  staysOn = () => false;

  /** Pause all updates while the page is hidden. */
  tickWhileSeen() {
    clearInterval(this.timer);
    if (!this.unseen) this.timer = setInterval(() => this.second(), 1000);
  }

  /** Record that the page was hidden or is visible again: a connection gets its time to come back from now. */
  turned() {
    this.tickWhileSeen();
    if (this.brokenAt !== null) this.breaks();
    this.look();
  }

  breaks() {
    this.brokenAt = performance.now();
    setTimeout(() => this.look(), GRACE_MS + 20);
  }

  get = (key) => this.connection.mirror.get(key);
  /** All resources of a kind, by key. */
  of = (kind) => [...this.connection.of(kind)].map(([id, value]) => [`${kind}:${id}`, value]);
  get me() {
    return this.get('me') ?? {};
  }

  /** Whether all resources of a kind that the session may see are known; an unknown value is never 0. */
  knows(topic) {
    return this.whole && this.topics !== null && this.topics.has(topic);
  }

  /**
   * Follow these from now on: at first only what is shown is asked for.
   * @param {string[]} topics @param {boolean} [alone] and nothing else: what else is held is let go
   */
  async want(topics, alone = false) {
    const {connection} = this;
    const enough = topics.every((topic) => this.wanted.has(topic));
    if (enough && (!alone || this.wanted.size === topics.length)) return;
    const before = this.wanted;
    this.wanted = new Set(topics);
    // they are known when the stream that contains them has begun
    const coming = {stream: connection.position?.stream ?? null, granted: null};
    this.coming = coming;
    const {granted} = await connection.follow(topics).catch(() => ({granted: null}));
    if (this.coming !== coming) return; // something else is wanted by now
    coming.granted = granted;
    if (granted) return this.arrive();
    this.wanted = before; // refused: it may be wanted again
    this.coming = null;
  }

  /** Reconnect with fewer topics, for a connection that gets all data again anyway. @param {string[]} topics */
  only(topics) {
    if (this.wanted.size === topics.length) return;
    this.wanted = new Set(topics);
    this.coming = null;
    this.topics = null;
    this.connection.follow(topics).catch(() => {});
  }

  arrive() {
    const {coming, connection} = this;
    if (!coming?.granted || !this.whole || connection.position?.stream === coming.stream) return;
    this.coming = null;
    this.topics = new Set(coming.granted);
    this.everything();
  }

  /** Call with the set of changed keys; null: look at everything. @returns {() => void} ends it */
  read(call) {
    this.readers.add(call);
    if (this.whole) this.everything();
    return () => this.readers.delete(call);
  }
  /** Call each second while the page is visible or stays connected. @returns {() => void} ends it */
  each(call) {
    this.tickers.add(call);
    return () => this.tickers.delete(call);
  }

  touch(key) {
    this.changed.add(key);
    this.tell();
  }
  everything() {
    this.all = true;
    this.tell();
  }

  flush() {
    const changed = this.all ? null : this.changed;
    this.all = false;
    this.changed = new Set();
    for (const call of this.readers) call(changed);
  }

  second() {
    this.look();
    this.arrive();
    for (const call of this.tickers) call();
  }

  /**
   * `connecting` (for the first time), `live`, `stale` and `down` (OSCC-E), `updating` (just interrupted, as by
   * every return to the page), `lost` (the gateway).
   */
  look() {
    const {state, quiet, upstream} = this.connection.link;
    if (LINKED.has(state) && !quiet) this.brokenAt = null;
    else if (this.brokenAt === null) this.breaks();
    const mode = this.modeOf(state, quiet, upstream);
    if (mode !== this.mode) {
      this.mode = mode;
      this.everything();
    }
  }

  modeOf(state, quiet, upstream) {
    if (LINKED.has(state) && !quiet) return state;
    if (state === 'gone') return 'lost';
    if (!this.whole || upstream === null) return state === 'waiting' ? 'lost' : 'connecting';
    return this.unseen || performance.now() - this.brokenAt < GRACE_MS ? 'updating' : 'lost';
  }

  get frozen() {
    return this.mode !== 'live';
  }
  /** When data of OSCC-E was last received: as a ping reports it, or when a change came. */
  get asOf() {
    const {asOfMs, upstream} = this.connection.link;
    if (asOfMs === null) return null;
    // while OSCC-E is silent, the gateway sends data that it received before
    return upstream === 'live' ? Math.max(asOfMs, this.heardMs ?? 0) : asOfMs;
  }
  /**
   * The gateway's clock; when data has stopped, the instant of the data, and while that may be for a moment
   * only, what was shown last; null before there is any.
   */
  now() {
    if (this.mode === 'updating') return this.shownMs;
    if (this.frozen) return this.asOf;
    return (this.shownMs = this.connection.serverTimeMs());
  }
  /** The time of day: the gateway's, which others see too, or else this device's. */
  get wall() {
    return this.connection.serverTimeMs() ?? Date.now();
  }
  /** How old the data is, ms. */
  age() {
    const at = this.connection.serverTimeMs();
    return at === null || this.asOf === null ? null : Math.max(0, at - this.asOf);
  }

  /** Whether to offer a command: the gateway supports it, the session has the right, the data is live. */
  may(kind, right) {
    return (
      (!this.capabilities || this.capabilities.has(kind)) &&
      (!right || (this.me.rights ?? this.connection.rights).includes(right))
    );
  }

  /** The catalogue's entry of a reason, skill or parameter. */
  catalogue(kind) {
    return this.get(`catalogue:${kind}`)?.[kind] ?? [];
  }
  reason(id) {
    return this.catalogue('reasons').find((each) => each.reason_id === id)?.name ?? null;
  }
  reasons(kind) {
    return this.catalogue('reasons').filter((each) => each.kind === kind);
  }
  needsReason(state) {
    return this.catalogue('reasons').some((each) => each.required_for.includes(state));
  }
  skill(id) {
    return this.catalogue('skills').find((each) => each.skill_id === id)?.name ?? id;
  }

  /**
   * Ask for something, and remember what became of it while this page lives.
   * @param {string} kind @param {object} args
   * @param {{key: string, what: string, wants?: string|null, changes?: [string, string, string][]|null,
   *   back?: {args: object, what: string}|null, needed?: ((resource: object) => boolean)|null}} about the
   *   resource, the wish, the state; what changes, from what to what, and how that is taken back; for a wish
   *   without a state, whether its effect is still missing
   */
  async ask(kind, args, {key, what, wants = null, changes = null, back = null, needed = null}) {
    const act = {kind, args, key, what, wants, changes, back, needed, at: this.wall, outcome: null,
      after: null, again: null};
    this.acts.unshift(act);
    this.acts.length = Math.min(this.acts.length, KEEP_ACTS);
    this.touch(key);
    this.touch('acts');
    act.outcome = await this.connection.command(kind, args);
    const waitS = act.outcome.error?.retryAfterS;
    if (waitS) act.again = this.wall + waitS * 1000;
    this.touch(key);
    this.touch('acts');
    return act.outcome;
  }

  /** Whether a change can be undone. */
  canUndo = (act) =>
    Boolean(act.back) && !act.undone && !this.frozen && act.outcome?.status === 'applied' && act.outcome.version != null;

  /** Undo a change, unless somebody has changed the same since. @returns {Promise<any>} the outcome */
  async undo(act) {
    act.undone = true;
    const changes = act.changes.map(([label, before, now]) => [label, now, before]);
    const args = {...act.back.args, if_version: act.outcome.version};
    const outcome = await this.ask(act.kind, args, {key: act.key, what: act.what, changes});
    if (outcome.status !== 'applied') act.undone = false;
    this.touch('acts');
    return outcome;
  }

  /** The commands for a resource that have no outcome yet. */
  asked(key) {
    return this.acts.find((act) => act.key === key && act.outcome === null) ?? null;
  }
  last(key) {
    return this.acts.find((act) => act.key === key) ?? null;
  }
  /**
   * The reason of a state that is still pending: as the server reports it, or else as it was asked for here;
   * `by`: the latter only when it is this one's wish.
   */
  pendingReason(key, state, by = null) {
    const agent = this.get(key);
    if (agent?.pending_reason_id && agent.pending_routing_state === state)
      return this.reason(agent.pending_reason_id);
    const act = this.acts.find((each) => each.key === key && each.wants);
    const stands = act && act.wants === state && act.outcome?.status === 'pending' && !act.after;
    return stands && (by === null || this.get(key)?.pending_by === by)
      ? this.reason(act.args.reason_id)
      : null;
  }

  /** Check pending and unanswered commands: whether their effect, or another change, has come. */
  follow() {
    if (!this.frozen) this.acts.filter(({outcome, wants}) => outcome?.status === 'unknown' && wants)
      .forEach((act) => this.resolve(act));
    for (const act of this.acts) {
      if (act.outcome?.status !== 'pending' || act.after || !act.wants) continue;
      const agent = this.get(act.key);
      if (!agent || agent.pending_routing_state === act.wants) continue;
      act.after =
        agent.routing_state === act.wants ? 'came' : agent.pending_routing_state ? 'replaced' : 'dropped';
      this.touch('acts');
    }
  }

  /** Decide by the present state whether an unanswered command was carried out; for a moment it still may be. */
  resolve(act) {
    const agent = this.get(act.key);
    const done = agent && [agent.routing_state, agent.pending_routing_state].includes(act.wants);
    const after = done ? 'came' : 'undone';
    if (!agent || act.after === after || act.after === 'came' || act !== this.last(act.key)) return;
    act.after = after;
    this.touch('acts');
    this.touch(act.key);
  }

  /** The last command for a resource, if it was not carried out, without an answer or until it is repeated. */
  undone(key) {
    const act = this.last(key);
    if (!act || act.seen) return null;
    if (act.after === 'undone') return act;
    return this.refusedForNow(act) && this.isMissing(act) ? act : null;
  }

  /** Whether the effect of a command is still missing; false where that is not known. */
  isMissing({key, wants, needed}) {
    const resource = this.get(key) ?? {};
    if (wants) return ![resource.routing_state, resource.pending_routing_state].includes(wants);
    return needed?.(resource) ?? false;
  }

  /** Whether a command was refused for a reason that passes. */
  refusedForNow = (act) => act.outcome?.status === 'rejected' && Boolean(act.outcome.error?.retry);

  /** Whether the time after which to repeat a refused command has not come. */
  waits = (act) => act.again !== null && this.wall < act.again;
}
