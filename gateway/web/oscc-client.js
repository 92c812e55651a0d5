/**
 * The JavaScript SDK of the OSCC gateway: log on, see the contact centre live, act in it.
 *
 * One module without dependencies, for browsers and Node 20 and newer. oscc-client.d.ts describes
 * the API; comments here give reasons. It stores nothing: what a device may keep is `session.kept()`.
 *
 * @import {Change, CommandStep, ConnectOptions, Credentials, Env, Kept, Link, LogOn, NoticeName, Outcome,
 *   Position, Topics, Value, Verdict, Where} from './oscc-client.js'
 */

const ANSWER_MS = 15_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const GRACE_MS = 10_000;
const PROBE_MS = 3_000;
const LATE_MS = 2_500;
const UNANSWERED_MS = 1_000;
const QUIET_MS = 3_000;
const RESYNC_MS = 5_000;
const HURRY_MS = 2_000;
const STABLE_MS = 30_000;
const ADVISED_MAX_S = 3600;
const PARTS_MAX = 1024;
const WAITING_MAX = 64;
const NOTICES_MAX = 32;
const FRAME_BYTES_MAX = 16 * 1024;
const TIME_SAMPLES = 16;
const SET_BACK_MS = 60_000;
const SET_BACK_TWICE_MS = 10_000;
const AGREED_MS = 1_000;
const APART_MS = 1_000;
const VERSION = '1.0.0';
const RETRY = new Set(['rate_limited', 'busy', 'bus_down', 'upstream_unavailable', 'function_unavailable',
  'overloaded', 'over_capacity', 'account_locked']);
const OWN_MEMBERS = new Set(['kind', 'id', 'code', 'message', 'retry_after_s', 'type', 'title', 'status',
  'detail', 'instance']);

// -------------------------------------------------------- errors

export class GatewayError extends Error {
  /** @param {string} code @param {string} [message]
   * @param {{status?: number, retryAfterS?: number|null, details?: Record<string, any>}} [more] */
  constructor(code, message, {status = 0, retryAfterS = null, details = {}} = {}) {
    super(message ?? code);
    this.name = 'GatewayError';
    this.code = code;
    this.status = status;
    this.retryAfterS = retryAfterS;
    this.details = details;
  }

  get unreachable() { return this.details.unreachable === true; }

  get retry() { return RETRY.has(this.code); }
}

/** @param {string} message @param {number|null} [retryAfterS] */
const unreachable = (message, retryAfterS = null) =>
  new GatewayError('upstream_unavailable', message, {retryAfterS, details: {unreachable: true}});

/** The wait that an answer names, or null. @param {Record<string, any>} members */
const waitOf = ({retry_after_s: wait}) => (typeof wait === 'number' ? wait : null);

/** The error that problem+json, an outcome or an error frame describes.
 * @param {Record<string, any>} members @param {number} [status] @param {number|null} [retryAfterS] */
function errorOf(members, status = 0, retryAfterS = null) {
  const code = typeof members.code === 'string' ? members.code : status >= 500 ? 'internal' : 'bad_request';
  const text = members.message ?? members.detail ?? members.title;
  const details = Object.fromEntries(Object.entries(members).filter(([name]) => !OWN_MEMBERS.has(name)));
  return new GatewayError(code, typeof text === 'string' ? text : code,
    {status, retryAfterS: waitOf(members) ?? retryAfterS, details});
}

/** @param {number} code @returns {Verdict} */
export function verdictOf(code) {
  if ([1001, 1006, 1011, 1012, 1013].includes(code)) return 'back_off';
  /** @type {Record<number, Verdict>} */
  const ranges = {41: 'back_off', 42: 'window', 43: 'log_on'};
  return ranges[Math.floor(code / 100)] ?? 'stop';
}

// -------------------------------------------------------- the world

/** @param {Where} [where] @returns {{base: string, locale: string|undefined, env: Env}} */
function resolve({base, locale, env} = {}) {
  const address = base || globalThis.location?.origin || '';
  return {base: address.replace(/\/+$/, ''), locale, env: {
    fetch: (input, init) => globalThis.fetch(input, init),
    WebSocket: globalThis.WebSocket,
    now: () => performance.now(),
    wall: () => Date.now(),
    setTimeout: (call, ms) => globalThis.setTimeout(call, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    random: () => Math.random(),
    uuid,
    ...env,
  }};
}

/** crypto.randomUUID is not there on pages without TLS. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** @param {EventTarget} target @param {string} name @param {any} detail */
const tell = (target, name, detail) => target.dispatchEvent(new CustomEvent(name, {detail}));

// -------------------------------------------------------- HTTP

/**
 * @param {ReturnType<typeof resolve>} where @param {string} method @param {string} path
 * @param {{token?: string, body?: object}} [said]
 * @returns {Promise<{status: number, body: any}>} an answer that is no error
 */
async function ask({base, locale, env}, method, path, {token, body} = {}) {
  /** @type {Record<string, string>} */
  const headers = {Accept: 'application/json, application/problem+json'};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (locale) headers['Accept-Language'] = locale;
  if (body) headers['Content-Type'] = 'application/json';
  const abort = new AbortController();
  const timer = env.setTimeout(() => abort.abort(), ANSWER_MS);
  try {
    const response = await env.fetch(base + path, {method, headers, body: body && JSON.stringify(body),
      signal: abort.signal, redirect: 'error', credentials: 'omit', cache: 'no-store',
      referrerPolicy: 'no-referrer'});
    return answer(response.status, await read(response), response.headers.get('Retry-After') ?? '');
  } catch (error) {
    throw error instanceof GatewayError ? error : unreachable('The gateway does not answer.');
  } finally {
    env.clearTimeout(timer);
  }
}

/** @param {Response} response */
async function read(response) {
  let text = '';
  const reader = response.body?.getReader(), decoder = new TextDecoder();
  for (let part; reader && !(part = await reader.read()).done;) {
    text += decoder.decode(part.value, {stream: true});
    if (text.length > ANSWER_BYTES_MAX) {
      await reader.cancel();
      throw unreachable('The answer is too long for a gateway.');
    }
  }
  return text + decoder.decode();
}

/** @param {number} status @param {string} text @param {string} header */
function answer(status, text, header) {
  const retryAfterS = /^\d+$/.test(header) ? Number(header) : null;
  let body;
  try { body = text ? JSON.parse(text) : {}; } catch { body = null; }
  const isObject = body !== null && typeof body === 'object' && !Array.isArray(body);
  if (status >= 200 && status < 300 && isObject) return {status, body};
  if (status >= 400 && isObject && 'code' in body) throw errorOf(body, status, retryAfterS);
  // a proxy in front of the gateway may have no node available
  throw unreachable(`No gateway answers at this address (HTTP ${status}).`, retryAfterS);
}

/** @param {Where} [where] */
export async function about(where) { return (await ask(resolve(where), 'GET', '/v1/about')).body; }

/** @param {Where} [where] */
export async function notices(where) {
  return (await ask(resolve(where), 'GET', '/v1/notices')).body.notices ?? [];
}

/** @param {Where} [where] */
export async function privacyInventory(where) {
  return (await ask(resolve(where), 'GET', '/v1/privacy/inventory')).body;
}

// -------------------------------------------------------- session

/** @param {LogOn} options @returns {Promise<Session>} */
export async function logOn(options) {
  const {site, application, device, platform = 'web', appVersion = VERSION} = options;
  const session = new Session({token: '', id: '', expiresAtMs: 0, site, application, device, platform,
    appVersion}, options);
  for (const notice of options.notices ?? []) session.accept(notice);
  await session.logOnAgain(options);
  return session;
}

/** @param {Kept} kept @param {Where} [where] */
export function adopt(kept, where) { return new Session(kept, where); }

/** What only this module may do to a session.
 * @type {{renew(session: any, token: string, expiresAtMs: number): void,
 *   where(session: any): ReturnType<typeof resolve>}} */
let inner;

export class Session extends EventTarget {
  /** @type {Kept} */ #kept;
  /** @type {ReturnType<typeof resolve>} */ #where;
  /** @type {Map<string, NoticeName>} */ #accepted = new Map();
  /** @type {Promise<void>|null} */ #leaving = null;

  static {
    inner = {
      where: (session) => session.#where,
      renew: (session, token, expiresAtMs) => {
        session.#kept = {...session.#kept, token, expiresAtMs};
        tell(session, 'renewed', session.#kept);
      },
    };
  }

  /** @param {Kept} kept @param {Where} [where] */
  constructor(kept, where) {
    super();
    this.#kept = {...kept};
    this.#where = resolve(where);
    /** @type {any} */
    this.user = null;
    /** @type {string|null} */
    this.remoteNumber = null;
  }

  get token() { return this.#kept.token; }
  get id() { return this.#kept.id; }
  get application() { return this.#kept.application; }
  get expiresAtMs() { return this.#kept.expiresAtMs; }
  get site() { return this.#kept.site; }

  kept() { return this.token ? {...this.#kept} : null; }

  async who() { return (await this.#ask('GET', '/v1/session')).body; }

  async sessions() { return (await this.#ask('GET', '/v1/sessions')).body.sessions ?? []; }

  /** @param {string} id */
  async endSession(id) {
    const {status, body} = await this.#ask('DELETE', `/v1/sessions/${encodeURIComponent(id)}`);
    if (status !== 202) return null;
    return {routedUntilMs: body.routed_until_ms ?? null, retryAfterS: waitOf(body)};
  }

  async export() { return (await this.#ask('GET', '/v1/me/export')).body; }

  /** @param {NoticeName} notice */
  accept({id, version}) {
    const name = `${id} ${version}`;
    this.#accepted.delete(name);
    this.#accepted.set(name, {id, version});
    for (const oldest of this.#accepted.keys()) {
      if (this.#accepted.size <= NOTICES_MAX) break;
      this.#accepted.delete(oldest);
    }
  }

  /** @param {Credentials & {takeover?: boolean}} credentials */
  async logOnAgain({user, password, remoteNumber, takeover}) {
    const {site, application, device, platform, appVersion} = this.#kept;
    const accepted = [...this.#accepted.values()];
    const {body} = await ask(this.#where, 'POST', '/v1/sessions', {body: {
      site, application, user_name: user, password, remote_number: remoteNumber ?? undefined,
      takeover: takeover || undefined, accepted_notices: accepted.length ? accepted : undefined,
      device: {id: device.id, name: device.name, platform, app_version: appVersion},
    }});
    if (typeof body.token !== 'string' || !body.session) throw unreachable('No gateway: another protocol.');
    const {id, expires_at_ms: expiresAtMs} = body.session;
    this.#kept = {...this.#kept, token: body.token, id, expiresAtMs};
    this.user = body.user ?? null;
    this.remoteNumber = body.remote_number ?? null;
    tell(this, 'renewed', this.kept());
  }

  logOff() {
    return this.#leaving ??= this.#logOff().finally(() => { this.#leaving = null; });
  }

  async #logOff() {
    const {env} = this.#where, backoff = new Backoff(env);
    while (this.token) {
      let routedUntilMs = null, retryInS = null;
      try {
        const {status, body} = await this.#ask('DELETE', '/v1/session');
        if (status !== 202) break;
        routedUntilMs = body.routed_until_ms ?? null;
        retryInS = waitOf(body);
      } catch (error) {
        const {code, retry, status, retryAfterS} = /** @type {GatewayError} */ (error);
        if (code === 'session_ended') break;
        if (!retry && status < 500) throw error;
        retryInS = retryAfterS;
      }
      const backedOffS = backoff.failed();
      const waitS = Math.min(retryInS ?? backedOffS, ADVISED_MAX_S);
      tell(this, 'logoff', {routedUntilMs, retryInS: waitS});
      await new Promise((done) => { env.setTimeout(() => done(null), waitS * 1000); });
    }
    this.#kept = {...this.#kept, token: ''};
  }

  /** @param {string} method @param {string} path */
  async #ask(method, path) {
    if (!this.token) throw new GatewayError('unauthenticated', 'Nobody is logged on.', {status: 401});
    return ask(this.#where, method, path, {token: this.token});
  }
}

// -------------------------------------------------------- time

/** How long to wait after each of a row of failures: `rand(0, min(20 s, 0.5 s · 2^n))`. */
class Backoff {
  #failures = 0;

  /** @param {Env} env */
  constructor(env) { this.env = env; }

  failed() { return this.env.random() * Math.min(20, 0.5 * 2 ** Math.min(this.#failures++, 10)); }

  /** @param {number} ms how long a connection was up: only a stable one ends the row */
  lasted(ms) { if (ms >= STABLE_MS) this.#failures = 0; }
}

/** The gateway's wall clock. A frame takes a while to arrive, so the least late reading is the best one. */
class ServerTime {
  /** @type {number[]} */ #offsets = [];
  #lastAt = 0;

  reset() { this.#offsets = []; }

  /** @param {number} serverMs @param {number} now */
  heard(serverMs, now) {
    const offset = serverMs - now;
    const early = Math.max(...this.#offsets) - offset;
    const agrees = now - this.#lastAt >= APART_MS && Math.abs((this.#offsets.at(-1) ?? 0) - offset) < AGREED_MS;
    // so late is no frame, and no two frames that arrive apart are equally late: the clock was set back
    if (early > SET_BACK_MS || (early > SET_BACK_TWICE_MS && agrees)) this.reset();
    this.#offsets = [...this.#offsets.slice(1 - TIME_SAMPLES), offset];
    this.#lastAt = now;
  }

  /** @param {number} now @returns {number|null} */
  at(now) { return this.#offsets.length ? Math.floor(Math.max(...this.#offsets) + now) : null; }
}

// -------------------------------------------------------- mirror

/** Keys and values as received. Values and position belong together; after a gap only a reset changes them. */
class State {
  /** @type {Map<string, Value>} */ values = new Map();
  /** @type {Position|null} */ position = null;
  /** @type {any[]} */ #parts = [];
  lost = false;

  /** Begin a new socket: an incomplete answer is dropped. */
  reopen() {
    this.#parts = [];
    this.lost = false;
  }

  clear() {
    this.reopen();
    this.position = null;
    return this.#commit(new Map([...this.values.keys()].map((key) => [key, undefined])));
  }

  /** @param {any} frame `changes` or `ping`
   * @returns {Change[]|'held'|'gap'} held: the last part of the answer is still to come */
  receive(frame) {
    if (frame.kind === 'ping') return this.#ping(frame);
    if (!this.#continues(frame)) return this.#gap();
    this.#parts.push(frame);
    return frame.more ? 'held' : this.#apply(this.#parts);
  }

  /** @param {any} frame */
  #continues(frame) {
    const {position} = this, first = this.#parts[0];
    if (frame.reset) {
      this.#parts = [];
      return frame.stream != null;
    }
    if (first) return frame.after === first.after && frame.stream == null && this.#parts.length < PARTS_MAX;
    if (this.lost || !position || frame.after !== position.seq) return false;
    return frame.stream != null || frame.upto >= frame.after;
  }

  /** @param {any} ping @returns {Change[]|'gap'} */
  #ping({after, upto}) {
    const {position} = this;
    if (!position || this.lost || this.#parts.length) return this.#gap();
    if (position.seq !== after || upto < after) return this.#gap();
    this.position = {stream: position.stream, seq: upto};
    return [];
  }

  /** @returns {'gap'} */
  #gap() {
    this.#parts = [];
    this.lost = true;
    return 'gap';
  }

  /** @param {any[]} parts @returns {Change[]|'gap'} */
  #apply(parts) {
    const {reset, stream} = parts[0];
    /** @type {Map<string, Value|undefined>} */
    const news = new Map(reset ? [...this.values.keys()].map((key) => [key, undefined]) : []);
    for (const {put, patch, gone} of parts) {
      for (const [key, value] of Object.entries(put ?? {})) news.set(key, valueOf(value));
      for (const [key, fields] of Object.entries(patch ?? {})) {
        const before = news.has(key) ? news.get(key) : this.values.get(key);
        if (!before) return this.#gap();
        news.set(key, valueOf({...before, .../** @type {object} */ (fields)}));
      }
      for (const key of gone ?? []) news.set(key, undefined);
    }
    this.position = {stream: stream ?? this.position?.stream ?? '', seq: parts[parts.length - 1].upto};
    this.reopen();
    return this.#commit(news);
  }

  /** @param {Map<string, Value|undefined>} news */
  #commit(news) {
    /** @type {Change[]} */ const changes = [];
    for (const [key, after] of news) {
      const before = this.values.get(key);
      if (after) this.values.set(key, after); else this.values.delete(key);
      if (!same(before, after)) changes.push({key, before, after});
    }
    return changes;
  }
}

/** @param {any} fields @returns {Value} */
const valueOf = (fields) =>
  Object.freeze(Object.fromEntries(Object.entries(fields).filter(([, member]) => member !== null)));

/** @param {any} a @param {any} b @returns {boolean} */
function same(a, b) {
  if (Object.is(a, b)) return true;
  if (!a || !b || typeof a !== 'object' || typeof b !== 'object') return false;
  const names = Object.keys(a);
  return Array.isArray(a) === Array.isArray(b) && names.length === Object.keys(b).length
    && names.every((name) => Object.hasOwn(b, name) && same(a[name], b[name]));
}

// -------------------------------------------------------- codecs

const CODECS = {
  json: {
    subprotocol: 'oscc.v1.json',
    encode: (/** @type {any} */ frame) => JSON.stringify(frame),
    decode: (/** @type {any} */ data) => JSON.parse(typeof data === 'string' ? data : fail('binary')),
  },
  msgpack: {
    subprotocol: 'oscc.v1.msgpack',
    encode: (/** @type {any} */ frame) => {
      /** @type {number[]} */ const out = [];
      pack(frame, out);
      return new Uint8Array(out);
    },
    decode: (/** @type {any} */ data) =>
      unpack(new Uint8Array(typeof data === 'string' ? fail('text') : data)),
  },
};

/** @param {string} what @returns {never} */
function fail(what) { throw new TypeError(`not as agreed: ${what}`); }

/** @param {number[]} out @param {number} type @param {number} size @param {number} value */
function put(out, type, size, value) {
  const view = new DataView(new ArrayBuffer(8));
  if (size === 8) view.setFloat64(0, value);
  else view.setUint32(0, value * 2 ** (32 - 8 * size));
  out.push(type, ...new Uint8Array(view.buffer, 0, size));
}

/** @param {any} value @param {number[]} out */
function pack(value, out) {
  if (value === null) out.push(0xc0);
  else if (typeof value === 'boolean') out.push(value ? 0xc3 : 0xc2);
  else if (typeof value === 'number') packNumber(value, out);
  else if (typeof value === 'string') {
    const bytes = new TextEncoder().encode(value);
    if (bytes.length < 32) out.push(0xa0 | bytes.length); else put(out, 0xda, 2, bytes.length);
    for (const byte of bytes) out.push(byte);
  } else if (Array.isArray(value)) {
    put(out, 0xdc, 2, value.length);
    for (const item of value) pack(item, out);
  } else {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    put(out, 0xde, 2, members.length);
    for (const [name, member] of members) {
      pack(name, out);
      pack(member, out);
    }
  }
}

/** @param {number} value @param {number[]} out */
function packNumber(value, out) {
  if (!Number.isSafeInteger(value)) put(out, 0xcb, 8, value);
  else if (value >= 0 && value < 128) out.push(value);
  else {
    out.push(0xd3);
    const view = new DataView(new ArrayBuffer(8));
    view.setBigInt64(0, BigInt(value));
    out.push(...new Uint8Array(view.buffer));
  }
}

/** @param {Uint8Array} bytes @returns {any} */
function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const utf8 = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true});
  let at = 0;
  const uint = (/** @type {number} */ size) => {
    at += size;
    if (size === 8) return integer(view.getBigUint64(at - 8));
    return size === 4 ? view.getUint32(at - 4) : size === 2 ? view.getUint16(at - 2) : view.getUint8(at - 1);
  };
  const int = (/** @type {number} */ size) => {
    at += size;
    if (size === 8) return integer(view.getBigInt64(at - 8));
    return size === 4 ? view.getInt32(at - 4) : size === 2 ? view.getInt16(at - 2) : view.getInt8(at - 1);
  };
  const integer = (/** @type {bigint} */ big) => {
    const value = Number(big);
    return Number.isSafeInteger(value) ? value : fail('integer');
  };
  const text = (/** @type {number} */ size) => {
    if (at + size > bytes.length) fail('cut short');
    return utf8.decode(bytes.subarray(at, at += size));
  };
  const list = (/** @type {number} */ size) => {
    /** @type {any[]} */ const items = [];
    while (items.length < size) items.push(next());
    return items;
  };
  const map = (/** @type {number} */ size) => {
    /** @type {[string, any][]} */ const members = [];
    while (members.length < size) {
      const name = next();
      members.push([typeof name === 'string' ? name : fail('key'), next()]);
    }
    return Object.fromEntries(members);
  };
  /** @type {Record<number, () => any>} */
  const types = {
    0xc0: () => null, 0xc2: () => false, 0xc3: () => true,
    0xca: () => view.getFloat32((at += 4) - 4), 0xcb: () => view.getFloat64((at += 8) - 8),
    0xcc: () => uint(1), 0xcd: () => uint(2), 0xce: () => uint(4), 0xcf: () => uint(8),
    0xd0: () => int(1), 0xd1: () => int(2), 0xd2: () => int(4), 0xd3: () => int(8),
    0xd9: () => text(uint(1)), 0xda: () => text(uint(2)), 0xdb: () => text(uint(4)),
    0xdc: () => list(uint(2)), 0xdd: () => list(uint(4)), 0xde: () => map(uint(2)), 0xdf: () => map(uint(4)),
  };
  /** @returns {any} */
  const next = () => {
    const type = uint(1);
    if (type < 0x80) return type;
    if (type < 0x90) return map(type & 0x0f);
    if (type < 0xa0) return list(type & 0x0f);
    if (type < 0xc0) return text(type & 0x1f);
    return type >= 0xe0 ? type - 256 : (types[type] ?? fail('type'))();
  };
  const value = next();
  return at === bytes.length ? value : fail('too long');
}

// -------------------------------------------------------- connection

/** @param {import('./oscc-client.js').Session} session @param {ConnectOptions} [options] */
export function connect(session, options) { return new Connection(session, options); }

export class Connection extends EventTarget {
  /** @type {Env} */ #env;
  /** @type {typeof CODECS.json|typeof CODECS.msgpack} */ #codec;
  #state = new State();
  #time = new ServerTime();
  /** @type {Backoff} */ #backoff;
  /** @type {ConnectOptions} */ #wishes;
  /** @type {'on'|'background'|'over'} */ #mode = 'on';
  /** The socket in use and what it has received. @type {any} */ #live = null;
  /** The next try, when none is under way. @type {{at: number, logOn: boolean}|null} */ #next = null;
  #loggingOn = false;
  #hurriedAt = -Infinity;
  /** @type {any} */ #timer = null;
  /** @type {Link} */ #link;
  /** @type {Map<string, {frame: any, step: CommandStep, settle: (outcome: Outcome) => void}>} */
  #commands = new Map();
  /** @type {Map<string, {frame: any, settle: (topics: Topics) => void, fail: (error: any) => void}>} */
  #follows = new Map();
  #count = 0;
  /** @type {() => void} */ #arrived = () => {};
  /** @type {(error: GatewayError) => void} */ #never = () => {};
  /** @type {(link: Link) => void} */ #over = () => {};

  /** @param {import('./oscc-client.js').Session} session @param {ConnectOptions} [options] */
  constructor(session, options = {}) {
    super();
    this.session = session;
    this.#env = inner.where(session).env;
    if (!this.#env.WebSocket) throw new TypeError('There is no WebSocket here: give one as env.WebSocket.');
    this.#backoff = new Backoff(this.#env);
    this.#wishes = {...options};
    this.#codec = CODECS[options.codec ?? 'json'] ?? fail('codec');
    this.#link = {state: 'connecting', sinceMs: this.#env.wall(), asOfMs: null, upstream: null, bus: null,
      quiet: false, ...NO_ENDING};
    /** @type {any} */
    this.welcome = null;
    /** @type {Promise<void>} */
    this.ready = new Promise((resolve, reject) => { this.#arrived = resolve; this.#never = reject; });
    this.ready.catch(() => {});
    /** @type {Promise<Link>} */
    this.ended = new Promise((resolve) => { this.#over = resolve; });
    this.#open();
  }

  /** @returns {ReadonlyMap<string, Value>} */
  get mirror() { return this.#state.values; }
  get link() { return this.#link; }
  get asOfMs() { return this.#link.asOfMs; }
  get position() { return this.#state.position; }
  get rights() { return this.#state.values.get('me')?.rights ?? this.welcome?.rights ?? []; }
  get pending() { return [...this.#commands.values()].map(({step}) => step); }

  serverTimeMs() { return this.#time.at(this.#env.now()); }
  get offsetMs() {
    const time = this.serverTimeMs();
    return time === null ? null : time - this.#env.wall();
  }

  /** @param {string} kind @returns {IterableIterator<[string, Value]>} */
  *of(kind) {
    const prefix = `${kind}:`;
    for (const [key, value] of this.mirror) {
      if (key.startsWith(prefix)) yield [key.slice(prefix.length), value];
    }
  }

  // ---- requests ----

  /** @param {string[]} topics @returns {Promise<Topics>} */
  async follow(topics) {
    if (this.#mode === 'over') throw this.#endedError();
    if (this.#follows.size >= WAITING_MAX) throw overloaded();
    const before = this.#wishes.topics, asked = [...topics];
    const frame = {kind: 'follow', id: `f${++this.#count}`, topics: asked};
    this.#wishes.topics = asked;
    try {
      return await new Promise((settle, fail) => {
        this.#follows.set(frame.id, {frame, settle, fail});
        if (this.#live?.welcome) this.#send(frame);
      });
    } catch (error) {
      if (this.#wishes.topics === asked) this.#wishes.topics = before;
      throw error;
    }
  }

  /** @param {number} everyS */
  pace(everyS) {
    this.#wishes.paceS = everyS;
    if (this.#live?.welcome) this.#send({kind: 'pace', every_s: everyS});
  }

  /** @param {string} kind @param {Record<string, any>} [args]
   * @param {{id?: string, deadlineS?: number}} [options] @returns {Promise<Outcome>} */
  command(kind, args = {}, {id = `c${++this.#count}`, deadlineS = 10} = {}) {
    const {position} = this, time = this.serverTimeMs(), key = this.#env.uuid();
    if (!this.#live?.welcome || !position || time === null) {
      return refusedOutcome(unreachable('There is no connection; nothing was sent.'));
    }
    if (this.#commands.size >= WAITING_MAX || this.#commands.has(id)) return refusedOutcome(overloaded());
    const frame = {kind: 'command', id, key, stream: position.stream,
      expires_at_ms: time + Math.floor(deadlineS * 1000), command: {...args, kind}};
    if (new Blob([this.#codec.encode(frame)]).size > FRAME_BYTES_MAX) {
      return refusedOutcome(new GatewayError('bad_request', 'Longer than a gateway takes; nothing was sent.'));
    }
    return new Promise((done) => {
      const timer = this.#env.setTimeout(() => this.#settle(id, {status: 'unknown', version: null,
        error: new GatewayError('upstream_timeout', 'No result came in time.')}), deadlineS * 1000);
      const settle = (/** @type {Outcome} */ outcome) => {
        this.#env.clearTimeout(timer);
        done(outcome);
      };
      this.#commands.set(id, {frame, settle, step: {id, key, kind, args, phase: 'sent', outcome: null}});
      this.#step(id, 'sent');
      this.#send(frame);
      this.#awaits(this.#live);
    });
  }

  /** @param {NoticeName} notice */
  acknowledge({id, version}) {
    this.session.accept({id, version});
    return this.command('notices.acknowledge', {notice_id: id, version});
  }

  // ---- start and end ----

  background() {
    if (this.#mode !== 'on') return;
    this.#mode = 'background';
    this.#rest();
    this.#show('background');
  }

  foreground() {
    if (this.#mode === 'over') return;
    if (this.#mode === 'background') {
      this.#mode = 'on';
      if (!this.#loggingOn) this.#next ??= {at: Infinity, logOn: false};
    }
    this.#hurry();
  }

  networkChanged() {
    if (this.#live?.open) {
      this.#live.probeBy = this.#env.now() + PROBE_MS;
      this.#live.quietAt = Math.min(this.#live.quietAt, this.#env.now() + UNANSWERED_MS);
      this.#live.moved = true;
      this.#send({kind: 'pong'});
      this.#arm();
    }
    this.#hurry();
  }

  close() { this.#end({code: 1000, reason: 'closed', by: 'self'}); }

  async logOff() {
    this.background();
    this.#forget();
    await this.session.logOff();
    this.#end({code: 4005, reason: 'logged_off', by: 'self'});
  }

  // ---- one socket ----

  #open() {
    this.#next = null;
    this.#show('connecting');
    const address = `${inner.where(this.session).base.replace(/^http/, 'ws')}/v1/realtime`;
    const now = this.#env.now();
    /** @type {any} */ let socket;
    try {
      socket = new this.#env.WebSocket(address, [this.#codec.subprotocol]);
    } catch (error) {
      this.#recover({code: 1006, reason: `unreachable (${/** @type {Error} */ (error).name})`}, 0);
      return;
    }
    const live = this.#live = {socket, open: false, welcome: null, inSync: false, upstream: null,
      hello: this.#wishes, beganAt: now, overAt: now + ANSWER_MS, probeBy: Infinity, resyncAt: now,
      lateAt: Infinity, quietAt: Infinity, moved: false,
      silenceMs: (this.#wishes.pingS ?? 25) * 1000 + GRACE_MS};
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.#opened(live);
    socket.onmessage = (/** @type {any} */ {data}) => this.#heard(live, data);
    socket.onclose = (/** @type {any} */ {code}) => this.#closed(live, code);
    // Node 20 reports no close of a socket that never opened
    socket.onerror = () => { if (!live.open) this.#closed(live, 1006); };
    this.#arm();
  }

  /** @param {any} live */
  #opened(live) {
    const now = this.#env.now(), {topics, paceS, pingS, client} = this.#wishes;
    if (live.socket.protocol !== this.#codec.subprotocol) {
      this.#drop({code: 4000, reason: 'no_gateway'});
      return;
    }
    live.open = true;
    live.beganAt = live.resyncAt = now;
    live.overAt = now + live.silenceMs;
    live.hello = {...this.#wishes};
    this.#state.reopen();
    this.#send({kind: 'hello', token: this.session.token, topics, position: this.position ?? undefined,
      pace_s: paceS, ping_s: pingS,
      client: client ?? {app: 'js-sdk', version: VERSION, platform: 'javascript'}});
    this.#arm();
  }

  /** @param {any} live @param {string|ArrayBuffer} data */
  #heard(live, data) {
    const now = this.#env.now();
    live.probeBy = Infinity;
    live.moved = false;
    live.overAt = now + live.silenceMs;
    live.lateAt = this.#commands.size ? now + LATE_MS : Infinity;
    live.quietAt = live.welcome ? live.overAt - GRACE_MS + QUIET_MS : Infinity;
    if (this.#link.quiet) this.#show(this.#link.state, {quiet: false});
    let frame;
    try {
      frame = checked(this.#codec.decode(data));
    } catch {
      this.#drop({code: 1006, reason: 'bad_frame'});
      return;
    }
    this.#receive(live, frame);
  }

  /** An answer is awaited: when nothing comes, the gateway is asked whether it is there. @param {any} live */
  #awaits(live) {
    live.lateAt = Math.min(live.lateAt, this.#env.now() + LATE_MS);
    this.#arm();
  }

  /** An expected frame is late. @param {any} live @param {number} now */
  #doubt(live, now) {
    if (now >= live.lateAt) {
      live.lateAt = Infinity;
      live.probeBy = Math.min(live.probeBy, now + PROBE_MS);
      live.quietAt = Math.min(live.quietAt, now + UNANSWERED_MS);
    } else {
      live.quietAt = Infinity;
      this.#show(this.#link.state, {quiet: true});
      if (live.probeBy < Infinity) return;
    }
    this.#send({kind: 'pong'});
  }

  /** @param {any} live @param {number} code */
  #closed(live, code) {
    const reason = code === 1006 ? 'connection_lost' : 'connection_closed';
    if (live === this.#live) this.#drop({code, reason});
  }

  /** The socket is over. @param {{code: number, reason: string}} ending */
  #drop(ending) {
    const upMs = this.#live?.open ? this.#env.now() - this.#live.beganAt : 0, moved = this.#live?.moved;
    this.#detach();
    this.#recover(ending, upMs);
    if (moved) this.#hurry();
  }

  #detach() {
    const socket = this.#live?.socket;
    this.#live = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    try { socket.close(); } catch { /* it is closed already */ }
  }

  /** Drop the socket and all timers. */
  #rest() {
    if (this.#live?.open) this.#send({kind: 'bye'});
    this.#detach();
    this.#next = null;
    this.#arm();
  }

  /** @param {any} frame */
  #send(frame) {
    try { this.#live.socket.send(this.#codec.encode(frame)); } catch { /* lost: the close event follows */ }
  }

  /** @param {any} live @param {any} frame */
  #receive(live, frame) {
    switch (frame.kind) {
      case 'welcome': return this.#welcomed(live, frame);
      case 'ping': return this.#pinged(live, frame);
      case 'changes': return this.#changed(live, frame);
      case 'result': return this.#settle(frame.id, outcomeOf(frame.outcome));
      case 'followed': return this.#followed(frame.id, ({settle}) => settle(frame.topics));
      case 'error': return this.#refused(frame);
      case 'notice': return tell(this, 'notice', frame);
      case 'renewed':
        inner.renew(this.session, frame.token, frame.expires_at_ms);
        return tell(this, 'renewed', this.session.kept());
      case 'bye': return this.#drop({...frame, minS: frame.min_s, maxS: frame.max_s});
    }
  }

  /** @param {any} live @param {any} welcome */
  #welcomed(live, welcome) {
    this.welcome = live.welcome = welcome;
    live.silenceMs = welcome.ping_s * 1000 + GRACE_MS;
    live.overAt = this.#env.now() + live.silenceMs;
    live.quietAt = live.overAt - GRACE_MS + QUIET_MS;
    this.#arm();
    this.#time.reset();
    this.#time.heard(welcome.server_time_ms, this.#env.now());
    const {topics, paceS} = live.hello;
    if (this.#wishes.paceS !== undefined && this.#wishes.paceS !== paceS) this.pace(this.#wishes.paceS);
    const follows = [...this.#follows];
    // the hello had the newest topics of that time: it answers these, and the ones that they replaced
    const answered = follows.map(([, {frame}]) => same(frame.topics, topics)).lastIndexOf(true);
    for (const [at, [id, {frame, settle}]] of follows.entries()) {
      if (at > answered) this.#send(frame);
      else if (this.#follows.delete(id)) settle(welcome.topics);
    }
    for (const [id, {frame}] of [...this.#commands]) {
      this.#step(id, 'repeated');
      this.#send({...frame, retry: true});
      this.#awaits(live);
    }
  }

  /** @param {any} live @param {any} ping */
  #pinged(live, ping) {
    this.#time.heard(ping.server_time_ms, this.#env.now());
    this.#send({kind: 'pong', nonce: ping.nonce});
    this.#changed(live, ping);
    const {bus, as_of_ms: asOfMs} = ping, upstream = UPSTREAMS.has(ping.upstream) ? ping.upstream : 'stale';
    live.upstream = upstream;
    if (this.#live !== live) return;
    // after a lost change the age is that of data which this client does not have
    this.#show(this.#link.state, {upstream, bus, asOfMs: this.#state.lost ? this.#link.asOfMs : asOfMs ?? null});
  }

  /** @param {any} live @param {any} frame */
  #changed(live, frame) {
    const {lost} = this.#state, took = this.#state.receive(frame);
    if (took === 'held') return;
    if (took === 'gap') {
      this.#show(this.#link.state);
      return this.#arm();
    }
    const first = live.welcome && !live.inSync;
    if (first) live.inSync = true;
    if (took.length) tell(this, 'changes', took);
    if (this.#live !== live) return;
    if (lost) this.#show(this.#link.state);
    if (!first) return;
    this.#arrived();
    tell(this, 'sync', {resumed: live.welcome.resumed === true});
  }

  // ---- pending requests ----

  /** @param {string} id @param {Outcome} outcome @returns {boolean} */
  #settle(id, outcome) {
    const command = this.#commands.get(id);
    if (!command) return false;
    this.#step(id, 'done', outcome);
    this.#commands.delete(id);
    command.settle(outcome);
    return true;
  }

  /** @param {string} id @param {CommandStep['phase']} phase @param {Outcome|null} [outcome] */
  #step(id, phase, outcome = null) {
    const command = this.#commands.get(id);
    if (command) tell(this, 'command', command.step = {...command.step, phase, outcome});
  }

  /** @param {string} id @param {(follow: any) => void} answer @returns {boolean} */
  #followed(id, answer) {
    const follow = this.#follows.get(id);
    if (follow) answer(follow);
    return this.#follows.delete(id);
  }

  /** @param {any} frame */
  #refused(frame) {
    const error = errorOf(frame);
    if (frame.id != null && this.#followed(frame.id, (follow) => follow.fail(error))) return;
    if (frame.id != null && this.#settle(frame.id, {status: 'rejected', error, version: null})) return;
    tell(this, 'refused', error);
  }

  // ---- reconnecting ----

  /** @param {any} ending {code, reason, by?, minS?, maxS?} @param {number} upMs */
  #recover(ending, upMs) {
    const verdict = verdictOf(ending.code), logOn = verdict === 'log_on';
    this.#backoff.lasted(upMs);
    if (verdict === 'stop' || (logOn && !this.#wishes.credentials)) return this.#end(ending);
    if (this.#mode !== 'on') return;
    const backedOffS = this.#backoff.failed(), {minS, maxS} = ending;
    const bounded = (/** @type {number} */ bound) => Math.min(Math.max(bound, 0), ADVISED_MAX_S);
    const low = bounded(minS ?? 0), span = Math.max(0, bounded(maxS ?? minS ?? 0) - low);
    const waitS = minS == null && maxS == null ? backedOffS : low + this.#env.random() * span;
    this.#next = {at: this.#env.now() + waitS * 1000, logOn};
    this.#show('waiting', {...endingOf(ending), retryAtMs: this.#env.wall() + Math.round(waitS * 1000)});
    this.#arm();
  }

  #hurry() {
    if (this.#mode !== 'on' || !this.#next) return;
    const now = this.#env.now();
    if (now >= this.#hurriedAt + HURRY_MS) this.#hurriedAt = now;
    else if (now >= this.#hurriedAt) this.#hurriedAt += HURRY_MS;
    this.#next.at = Math.min(this.#next.at, this.#hurriedAt);
    const retryAtMs = this.#env.wall() + Math.round(this.#next.at - now);
    this.#show('waiting', {retryAtMs});
    this.#arm();
  }

  async #logOn() {
    this.#next = null;
    this.#loggingOn = true;
    this.#show('connecting');
    try {
      const credentials = await this.#wishes.credentials?.();
      if (!credentials) throw new GatewayError('unauthenticated', 'No login data is stored.');
      if (this.#mode === 'over') return;
      await this.session.logOnAgain(credentials);
    } catch (error) {
      const {code, retry, retryAfterS: waitS} =
        error instanceof GatewayError ? error : new GatewayError('unauthenticated');
      const ending = {code: 4300, reason: code, minS: waitS, maxS: waitS};
      if (retry) this.#recover(ending, 0); else this.#end(ending);
      return;
    } finally {
      this.#loggingOn = false;
    }
    if (this.#mode === 'on') this.#open();
  }

  /** Do what is due, and set the timer for the next time. */
  #wake() {
    const now = this.#env.now(), live = this.#live;
    if (live && now >= Math.min(live.overAt, live.probeBy)) {
      this.#drop({code: 1006, reason: live.open ? 'silent' : 'unreachable'});
    } else if (live && now >= Math.min(live.lateAt, live.quietAt)) {
      this.#doubt(live, now);
    } else if (live && this.#state.lost && now >= live.resyncAt) {
      live.resyncAt = now + RESYNC_MS;
      this.#send({kind: 'resync'});
    } else if (this.#next && now >= this.#next.at) {
      if (this.#next.logOn) this.#logOn(); else this.#open();
    }
    this.#arm();
  }

  #arm() {
    if (this.#timer !== null) this.#env.clearTimeout(this.#timer);
    this.#timer = null;
    const live = this.#live, resyncAt = live && this.#state.lost ? live.resyncAt : Infinity;
    const at = live ? Math.min(live.overAt, live.probeBy, live.lateAt, live.quietAt, resyncAt)
      : this.#next?.at ?? Infinity;
    if (at === Infinity) return;
    this.#timer = this.#env.setTimeout(() => this.#wake(), Math.max(0, at - this.#env.now()));
  }

  // ---- the state of the link ----

  /** @param {Link['state']} state @param {Partial<Link>} [news] */
  #show(state, news = {}) {
    const before = this.#link, ending = ['waiting', 'gone'].includes(state) ? {} : NO_ENDING;
    const link = {...before, ...ending, ...news, state};
    if (!this.#live) link.quiet = false;
    const {inSync, upstream} = this.#live ?? {};
    if (inSync && upstream) link.state = upstream === 'live' && this.#state.lost ? 'stale' : upstream;
    link.sinceMs = link.state === before.state ? before.sinceMs : this.#env.wall();
    if (same(link, before)) return;
    this.#link = Object.freeze(link);
    tell(this, 'link', this.#link);
  }

  #forget() {
    const changes = this.#state.clear();
    if (changes.length) tell(this, 'changes', changes);
  }

  /** End for good. @param {any} ending */
  #end(ending) {
    if (this.#mode === 'over') return;
    this.#rest();
    this.#mode = 'over';
    this.#forget();
    this.#show('gone', {...endingOf(ending), retryAtMs: null});
    /** @type {Outcome} */
    const lost = {status: 'unknown', version: null,
      error: new GatewayError('owner_lost', 'The session ended before the result came.')};
    for (const id of [...this.#commands.keys()]) this.#settle(id, lost);
    for (const id of [...this.#follows.keys()]) this.#followed(id, ({fail}) => fail(this.#endedError()));
    this.#never(this.#endedError());
    this.#over(this.#link);
  }

  #endedError() {
    const {code, reason, by} = this.#link;
    return new GatewayError('session_ended', `The session ended: ${reason}.`,
      {status: 401, details: {close_code: code, reason, by}});
  }
}

/** @type {Pick<Link, 'code'|'reason'|'by'|'verdict'|'minS'|'maxS'|'retryAtMs'>} */
const NO_ENDING = {code: null, reason: null, by: null, verdict: null, minS: null, maxS: null,
  retryAtMs: null};

/** @param {any} ending */
const endingOf = ({code, reason, by, minS, maxS}) =>
  ({code, reason, by: by ?? null, minS: minS ?? null, maxS: maxS ?? null, verdict: verdictOf(code)});

const overloaded = () => new GatewayError('overloaded', 'Too many requests wait for their answer.');

/** @param {GatewayError} error @returns {Promise<Outcome>} */
const refusedOutcome = async (error) => ({status: 'rejected', error, version: null});

// values that a later gateway has added
const STATUSES = new Set(['applied', 'pending', 'unchanged', 'rejected', 'unknown']);
const UPSTREAMS = new Set(['live', 'stale', 'down']);

/** @param {any} view @returns {Outcome} */
const outcomeOf = ({status, error, version}) =>
  ({status: STATUSES.has(status) ? status : 'unknown', error: error ? errorOf(error) : null, version: version ?? null});

/** The numbers and names that everything hangs on. @param {any} frame */
function checked(frame) {
  if (typeof frame?.kind !== 'string') fail('kind');
  const state = ['changes', 'ping'].includes(frame.kind);
  if (state && !(Number.isSafeInteger(frame.after) && Number.isSafeInteger(frame.upto))) fail('position');
  if (frame.kind === 'bye' && !Number.isSafeInteger(frame.code)) fail('code');
  if (frame.kind === 'renewed' && typeof frame.token !== 'string') fail('token');
  if (['welcome', 'ping'].includes(frame.kind) && !Number.isSafeInteger(frame.server_time_ms)) fail('time');
  if (frame.kind === 'welcome' && !(frame.ping_s > 0)) fail('ping_s');
  if (frame.kind === 'result' && typeof frame.outcome?.status !== 'string') fail('outcome');
  return frame;
}
