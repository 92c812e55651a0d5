// How is the JavaScript SDK driven by the kit? See docs/clients.md for the lines that it reads and writes.
//
//   node drivers/js.mjs                  the SDK (Node 20: node --experimental-websocket)
//   node drivers/js.mjs --sdk FILE       another text of it
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {fileURLToPath, pathToFileURL} from 'node:url';

const at = process.argv.indexOf('--sdk');
const ours = new URL('../../../gateway/web/oscc-client.js', import.meta.url);
const file = at > 0 ? process.argv[at + 1] : fileURLToPath(ours);
const sdk = await load(readFileSync(file));

/** Import a text as a module, whatever its folder says that it is. */
async function load(source) {
  const folder = mkdtempSync(join(tmpdir(), 'oscc-client-'));
  try {
    writeFileSync(join(folder, 'oscc-client.mjs'), source);
    return await import(pathToFileURL(join(folder, 'oscc-client.mjs')));
  } finally {
    rmSync(folder, {recursive: true});
  }
}

const say = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);
let client = null;

/** Time that runs `scale` times as fast, and chance that is always the same where that is asked for. */
function world({time_scale: scale = 1, chance}) {
  const began = performance.now(), wall = Date.now();
  const now = () => (performance.now() - began) * scale;
  return {
    now,
    wall: () => wall + now(),
    setTimeout: (call, ms) => setTimeout(call, ms / scale),
    ...(chance === undefined ? {} : {random: () => chance}),
  };
}

const credentials = ({user, password, remote_number: remoteNumber}) => ({user, password, remoteNumber});
const errorView = (error) => error instanceof sdk.GatewayError
  && {code: error.code, retry_after_s: error.retryAfterS, details: error.details};
const outcomeView = ({status, error, version}) =>
  ({outcome: {status, error: errorView(error) || null, version}});

function watch({live, session}) {
  const on = (target, name, view) => target.addEventListener(name, ({detail}) => say(view(detail)));
  on(live, 'sync', ({resumed}) => ({event: 'connected', resumed}));
  on(live, 'notice', (notice) => ({event: 'notice', notice}));
  on(live, 'refused', (error) => ({event: 'refused', ...errorView(error)}));
  on(live, 'renewed', ({expiresAtMs}) => ({event: 'renewed', expires_at_ms: expiresAtMs}));
  on(session, 'logoff', ({routedUntilMs}) => ({event: 'log_off_pending', routed_until_ms: routedUntilMs}));
  live.addEventListener('link', ({detail: link}) => {
    if (link.state === 'gone') say({event: 'ended', code: link.code, reason: link.reason, by: link.by});
    else if (['live', 'stale', 'down'].includes(link.state) && link.upstream) {
      say({event: 'health', upstream: link.upstream, bus: link.bus, as_of_ms: link.asOfMs});
    }
  });
}

const acts = {
  start(said) {
    client?.live?.close();
    const where = {base: said.base, locale: said.locale, env: world(said)};
    client = {said, where, session: null, live: null};
  },
  async log_on({site, application, device, takeover, accepted_notices: notices, ...who}) {
    const whom = {...credentials(who), site, application, device, takeover, notices};
    client.session = await sdk.logOn({...client.where, ...whom});
    return {session_id: client.session.id, remote_number: client.session.remoteNumber};
  },
  connect() {
    const {codec, topics, pace_s: paceS, ping_s: pingS, credentials: stored} = client.said;
    client.live = sdk.connect(client.session, {codec, topics, paceS, pingS,
      credentials: stored && (async () => credentials(stored))});
    watch(client);
  },
  snapshot: () =>
    ({mirror: Object.fromEntries(client.live?.mirror ?? []), position: client.live?.position ?? null}),
  async command({kind, args, deadline_s: deadlineS}) {
    return outcomeView(await client.live.command(kind, args, {deadlineS}));
  },
  follow: ({topics}) => client.live.follow(topics),
  pace: ({every_s: everyS}) => client.live.pace(everyS),
  async acknowledge({notice}) { return outcomeView(await client.live.acknowledge(notice)); },
  background: () => client.live.background(),
  foreground: () => client.live.foreground(),
  network_changed: () => client.live.networkChanged(),
  close: () => client.live?.close(),
  async log_off() { await (client.live ?? client.session).logOff(); },
  about: () => sdk.about(client.where),
  notices: async () => ({notices: await sdk.notices(client.where)}),
  who: () => client.session.who(),
  sessions: async () => ({sessions: await client.session.sessions()}),
  export: () => client.session.export(),
  async end_session({session_id: id}) {
    return {routed_until_ms: (await client.session.endSession(id))?.routedUntilMs ?? null};
  },
};

const name = `oscc-client.js on Node ${process.versions.node}`;
say({event: 'ready', name, features: ['time_scale', 'chance', 'msgpack']});
for await (const line of createInterface({input: process.stdin})) {
  const {id, do: what, ...said} = JSON.parse(line);
  Promise.resolve().then(() => acts[what](said)).then(
    (answer) => say({id, ok: answer ?? {}}),
    (error) => say({id, error: errorView(error) || {code: String(error)}}),
  );
}
process.exit(0);
