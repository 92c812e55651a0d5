// What do tests of the JavaScript SDK put in the place of the world: clock, chance, sockets, HTTP?
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {pathToFileURL} from 'node:url';

export const SOURCE = new URL('../../../gateway/web/oscc-client.js', import.meta.url);
export const text = readFileSync(SOURCE, 'utf8');
export const sdk = await load(text);

/** Import a text as a module, whatever its folder says that it is. */
export async function load(source) {
  const folder = mkdtempSync(join(tmpdir(), 'oscc-client-'));
  try {
    writeFileSync(join(folder, 'oscc-client.mjs'), source);
    return await import(pathToFileURL(join(folder, 'oscc-client.mjs')));
  } finally {
    rmSync(folder, {recursive: true});
  }
}

export const SERVER_MS = 1_767_225_600_000;
const SESSION = {id: 's1', application: 'dashboard', expires_at_ms: SERVER_MS + 3_600_000};
const CREATED = [201, {token: 'token-1', session: SESSION, user: {}}];

/** A clock that stands still until it is told to go on. */
class Clock {
  constructor() {
    this.ms = 0;
    this.timers = new Map();
    this.count = 0;
  }

  setTimeout(call, ms) {
    this.timers.set(++this.count, {at: this.ms + ms, call});
    return this.count;
  }

  async advance(ms) {
    const until = this.ms + ms;
    await settle();
    for (let due; (due = this.next(until)) !== undefined;) {
      this.ms = Math.max(this.ms, this.timers.get(due).at);
      const {call} = this.timers.get(due);
      this.timers.delete(due);
      call();
      await settle();
    }
    this.ms = until;
  }

  next(until) {
    const [first] = [...this.timers].filter(([, {at}]) => at <= until).sort(([, a], [, b]) => a.at - b.at);
    return first?.[0];
  }
}

export const settle = () => new Promise((done) => { setImmediate(done); });

/** The gateway's end of one socket. */
class Socket {
  constructor(url, [protocol]) {
    Object.assign(this, {url, protocol, sent: [], closed: false});
    Socket.opened.push(this);
  }

  send(data) { this.sent.push(JSON.parse(data)); }
  close() { this.closed = true; }

  say(...frames) { for (const frame of frames) this.onmessage({data: JSON.stringify(frame)}); }
  last(kind) { return this.sent.filter((frame) => frame.kind === kind).at(-1); }

  serve(put = {'queue:1': {name: 'Sales', contacts_waiting: 3}}) {
    this.onopen();
    this.say(welcome(), {kind: 'changes', after: 0, upto: 5, stream: '1.a', reset: true, put});
    return this;
  }
}

export const welcome = (more = {}) => ({
  kind: 'welcome', session: SESSION, user: {user_id: '7'}, rights: ['skills_write'], application: 'dashboard',
  topics: {granted: [], refused: []}, resumed: false, server_time_ms: SERVER_MS, ping_s: 25, pace_s: 0,
  limits: {}, ...more,
});

export const ping = (more = {}) => ({
  kind: 'ping', after: 5, upto: 5, nonce: 'n', as_of_ms: SERVER_MS - 1000, upstream: 'live', bus: 'live',
  server_time_ms: SERVER_MS, ...more,
});

/** A world of one's own: `answers` are those of HTTP, oldest first; `asked` is what was asked. */
export function world() {
  const clock = new Clock(), answers = [], asked = [];
  Socket.opened = [];
  const env = {
    WebSocket: Socket,
    now: () => clock.ms,
    wall: () => 5_000 + clock.ms,
    setTimeout: (call, ms) => clock.setTimeout(call, ms),
    clearTimeout: (timer) => clock.timers.delete(timer),
    random: () => 0.5,
    fetch: async (url, said) => {
      asked.push({url, ...said});
      const [status, body, headers = {}] = answers.shift() ?? CREATED;
      return new Response(status === 204 ? null : JSON.stringify(body), {status, headers});
    },
  };
  return {clock, answers, asked, env, sockets: Socket.opened};
}

export const WHO = {
  site: 'main', application: 'dashboard', user: 'ada', password: 'secret', device: {id: 'd1', name: 'Desk'},
};

/** A connection, and all that it and its session told. */
export async function connected(options) {
  const here = world();
  const session = await sdk.logOn({...WHO, base: 'https://gateway.example/', env: here.env});
  const live = sdk.connect(session, options), told = [];
  for (const name of ['link', 'sync', 'changes', 'command', 'notice', 'renewed', 'refused']) {
    live.addEventListener(name, ({detail}) => told.push([name, detail]));
  }
  session.addEventListener('logoff', ({detail}) => told.push(['logoff', detail]));
  const of = (name) => told.filter(([one]) => one === name).map(([, detail]) => detail);
  return {...here, session, live, told, of};
}
