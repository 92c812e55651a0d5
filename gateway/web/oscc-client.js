/**
 * The JavaScript SDK of the OSCC gateway: log on, see the contact centre live, act in it.
 *
 * One module without dependencies, for browsers and Node 20 and newer. It stores nothing: realtime data
 * lives in `connection.mirror` and is gone with it; what a device may keep is `session.kept()`.
 * The protocol is that of docs/protocol.md; how to use this is in docs/clients.md.
 *
 *   const session = await logOn({base, site, application, user, password, device});
 *   const live = connect(session);
 *   live.addEventListener('changes', ({detail}) => detail.forEach(({key, before, after}) => show(key, after)));
 *   live.addEventListener('link', ({detail}) => showLink(detail));
 *   const {status, error} = await live.command('routing_state.set', {state: 'available', when: 'now'});
 *   await live.logOff();
 *
 * @typedef {'dashboard'|'remote_assistant'} Application
 * @typedef {Readonly<Record<string, any>>} Value a resource; a field that is not there is null
 * @typedef {{key: string, before: Value|undefined, after: Value|undefined}} Change undefined: not there
 * @typedef {{id: string, version: number, category: 'privacy'|'security'|'maintenance', title: string,
 *   summary: string, link: string|null, effective_at_ms: number|null, must_acknowledge: boolean}} Notice
 * @typedef {{status: 'applied'|'pending'|'unchanged'|'rejected'|'unknown', error: GatewayError|null,
 *   version: any}} Outcome
 * @typedef {{granted: string[], refused: {topic: string, reason: string}[]}} Topics
 * @typedef {{id: string, name: string}} Device the same id every time
 * @typedef {{token: string, id: string, application: Application, expiresAtMs: number, site: string,
 *   device: Device, platform: string, appVersion: string}} Kept all that a device may keep of a session
 * @typedef {{user: string, password: string, remoteNumber?: string|null}} Credentials
 * @typedef {{id: string, key: string, kind: string, args: object, phase: 'sent'|'repeated'|'done',
 *   outcome: Outcome|null}} CommandStep what the event `command` tells: show as pending until `done`
 *
 * @typedef {object} Link how the connection is; told by the event `link` whenever something of it changes
 * @property {'connecting'|'live'|'stale'|'down'|'waiting'|'background'|'gone'} state
 *   connecting: under way, nothing in sync yet; live: in sync and the OSCC-E link is live; stale, down: in sync
 *   with the gateway, but its OSCC-E link is stale or down: data is as of `asOfMs`; waiting: the connection
 *   is lost, the next try is at `retryAtMs`; background: at rest; gone: over, see `code`, `reason`, `by`
 * @property {number} sinceMs since when it is in this state, local wall clock
 * @property {number|null} asOfMs how old the data is: when OSCC-E was last heard, gateway clock
 * @property {'live'|'stale'|'down'|null} upstream as last told
 * @property {'live'|'degraded'|'down'|null} bus as last told
 * @property {number|null} code the close code that ended the last connection (waiting, gone)
 * @property {string|null} reason why, in snake case (waiting, gone)
 * @property {string|null} by who ended the session, when that is known (gone)
 * @property {'stop'|'back_off'|'window'|'log_on'|null} verdict what the code means (waiting, gone)
 * @property {number|null} minS the advised window, seconds (waiting, gone)
 * @property {number|null} maxS
 * @property {number|null} retryAtMs when the next try is, local wall clock (waiting)
 *
 * @typedef {object} Env what the module needs of the world; each has the platform's own as default
 * @property {typeof globalThis.fetch} fetch
 * @property {any} WebSocket a WebSocket class as browsers have it (Node has one from 22 on)
 * @property {() => number} now monotonic milliseconds
 * @property {() => number} wall milliseconds since 1970 UTC
 * @property {(call: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random in [0, 1)
 * @property {() => string} uuid
 *
 * @typedef {{base?: string, locale?: string, env?: Partial<Env>}} Where base: the gateway's address, by
 *   default the page's own origin; locale: as in Accept-Language
 * @typedef {Where & {site: string, application: Application, user: string, password: string,
 *   device: Device, remoteNumber?: string|null, takeover?: boolean, platform?: string, appVersion?: string,
 *   notices?: {id: string, version: number}[]}} LogOn notices: those that the person has accepted
 * @typedef {object} ConnectOptions
 * @property {string[]} [topics] `agents`, `queues`, `groups`, `aggregates`, or keys such as `queue:5`;
 *   by default what the application sees
 * @property {'json'|'msgpack'} [codec] by default json
 * @property {number} [paceS] at most one state frame in this time, 0..60
 * @property {number} [pingS] how often the gateway pings, 10..55
 * @property {{app: string, version: string, platform: string}} [client] which program this is
 * @property {() => Promise<Credentials|null>} [credentials] asked when the session ended and the page says
 *   to log on again; without it, or without credentials, the connection is then `gone`
 */

/** Every refusal, by a gateway or by its silence. `code` is stable: see docs/protocol.md. */
export class GatewayError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {{status?: number, retryAfterS?: number|null, details?: Record<string, any>}} [more]
   */
  constructor(code, message, {status = 0, retryAfterS = null, details = {}} = {}) {
    super(message ?? code);
    this.name = 'GatewayError';
    this.code = code;
    /** HTTP status; 0 when none was given. */
    this.status = status;
    /** Seconds after which the same may be tried again; null when nobody says. */
    this.retryAfterS = retryAfterS;
    /** What stands beside the code: `{notices}`, `{where, since_ms}`, `{min, max}` … */
    this.details = details;
  }

  /** Whether no gateway answered at all: `code` is then `upstream_unavailable`. @returns {boolean} */
  get unreachable() { return this.details.unreachable === true; }

  /** Whether the same may work later. @returns {boolean} */
  get retry() { throw this; }
}

/** What the gateway says about itself, as in docs/protocol.md; nobody need be logged on.
 * @param {Where} [where] @returns {Promise<any>} */
export async function about(where) { throw where; }

/** The notices of the log-on page. @param {Where} [where] @returns {Promise<Notice[]>} */
export async function notices(where) { throw where; }

/** The data inventory. @param {Where} [where] @returns {Promise<any>} */
export async function privacyInventory(where) { throw where; }

/**
 * Log on. The password lives for this request.
 * Refused with `GatewayError`: `already_logged_on` (details `where`, `since_ms`: again with `takeover: true`),
 * `notice_must_be_acknowledged` (details `notices`: again with `notices`), `invalid_credentials`,
 * `account_locked` (`retryAfterS`), `remote_number_*` and the others of the page.
 * @param {LogOn} options @returns {Promise<Session>}
 */
export async function logOn(options) { throw options; }

/** Go on with a session that the device has kept. @param {Kept} kept @param {Where} [where] @returns {Session} */
export function adopt(kept, where) { throw where; }

/**
 * One person's session. Events: `renewed` (detail: `Kept`, whoever stores it stores it anew), `logoff`
 * (detail: `{routedUntilMs, retryInS}`: not confirmed yet; until then calls may still reach the number).
 */
export class Session extends EventTarget {
  /** @returns {Kept} what the device may keep; holds the token */
  kept() { throw this; }

  /** Who am I, until when? @returns {Promise<any>} */
  async who() { throw this; }

  /** My sessions: `{id, application, device, since_ms, attached, current}`. @returns {Promise<any[]>} */
  async sessions() { throw this; }

  /** End one of my sessions. @param {string} id
   * @returns {Promise<{routedUntilMs: number|null}|null>} until when calls may still come; null: none will */
  async endSession(id) { throw id; }

  /** Everything that the gateway holds about me. @returns {Promise<any>} */
  async export() { throw this; }

  /** Log off: asks again, with the event `logoff`, until it is confirmed. Close connections before:
   * `connection.logOff()` does both. @returns {Promise<void>} */
  async logOff() { throw this; }

  /** Log on anew: same site, application and device. @param {Credentials} credentials @returns {Promise<void>} */
  async logOnAgain(credentials) { throw credentials; }

  /** Note that the person has accepted a notice: every log-on from now on says so.
   * @param {{id: string, version: number}} notice */
  accept(notice) { throw notice; }

  token = '';
  id = '';
  /** @type {Application} */ application = 'dashboard';
  expiresAtMs = 0;
  site = '';
  /** The person, `{user_id, display_name}`; null until told. @type {any} */ user = null;
  /** The number in effect at log-on. @type {string|null} */ remoteNumber = null;
}

/** Connect, and stay connected until the end. @param {Session} session @param {ConnectOptions} [options]
 * @returns {Connection} */
export function connect(session, options) { return new Connection(session, options); }

/**
 * One person's view, kept in sync over however many sockets that takes. Events, each with `detail`:
 * `link` (Link), `sync` ({resumed}: the mirror is whole), `changes` (Change[]: all of one frame, applied),
 * `command` (CommandStep), `notice` (Notice), `renewed` (Kept), `refused` (GatewayError that nobody waits for).
 */
export class Connection extends EventTarget {
  /** @param {Session} session @param {ConnectOptions} [options] */
  constructor(session, options = {}) {
    super();
    this.session = session;
    this.options = options;
  }

  /** By resource key (`queue:5`, `me`, `catalogue:skills`); read only. @type {Map<string, Value>} */
  mirror = new Map();

  /** @type {Link} */ get link() { throw this; }
  /** When OSCC-E was last heard; gateway clock, null before. @type {number|null} */ get asOfMs() { throw this; }
  /** Gateway's clock minus local wall clock; null before the first frame. @type {number|null} */
  get offsetMs() { throw this; }
  /** The gateway's clock now; null before the first frame. @returns {number|null} */ serverTimeMs() { throw this; }
  /** The last `welcome`: `user, rights, application, topics, limits` … @type {any} */ welcome = null;
  /** What the session may do. @type {string[]} */ get rights() { throw this; }
  /** Where to resume. @type {{stream: string, seq: number}|null} */ get position() { throw this; }
  /** Commands that wait for their outcome. @type {CommandStep[]} */ get pending() { throw this; }
  /** Settled when the mirror is first in sync; rejected when it never will be. @type {Promise<void>} */ ready;
  /** Resolved with the last Link when it is `gone`. @type {Promise<Link>} */ ended;

  /** Resources of one kind: `of('queue')` gives [id, value] pairs. @param {string} kind
   * @returns {IterableIterator<[string, Value]>} */
  of(kind) { throw kind; }

  /** Replace the topics; now and after each reconnect. @param {string[]} topics @returns {Promise<Topics>} */
  async follow(topics) { throw topics; }

  /** At most one state frame in this time, 0..60. @param {number} everyS */
  pace(everyS) { throw everyS; }

  /**
   * Have a command carried out at most once. One call is one intended action. Never rejects: without a
   * connection the outcome is `rejected` (`error.unreachable`), after `deadlineS` without result `unknown`.
   * @param {string} kind as in docs/protocol.md, `routing_state.set`
   * @param {Record<string, any>} [args] its fields
   * @param {{id?: string, deadlineS?: number}} [options] id: yours, for the events; deadlineS: up to 60
   * @returns {Promise<Outcome>}
   */
  async command(kind, args = {}, options = {}) { throw [kind, args, options]; }

  /** Acknowledge a notice, here and at each log-on from now on. @param {{id: string, version: number}} notice
   * @returns {Promise<Outcome>} */
  async acknowledge(notice) { throw notice; }

  /** Say `bye` and rest; the mirror and the session stay. */
  background() { throw this; }

  /** Go on at once (once per 2 s) with what changed since. */
  foreground() { throw this; }

  /** The network changed: try at once; a connection that is up must give a sign of life in 3 s. */
  networkChanged() { throw this; }

  /** Say `bye` and stop for good; no log-off. The mirror is forgotten. */
  close() { throw this; }

  /** Close and log off; resolved when that is confirmed. @returns {Promise<void>} */
  async logOff() { throw this; }
}
