// Does the JavaScript SDK show what the kit cannot see: link, batches, pending commands, bounds, secrets?
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {inspect} from 'node:util';
import {connected, ping, sdk, SERVER_MS, SOURCE, text, welcome, WHO, world} from './world.mjs';

test('the link is shown from connecting to gone', async () => {
  const {live, sockets, clock, of} = await connected();
  assert.equal(live.link.state, 'connecting');
  assert.equal(sockets[0].url, 'wss://gateway.example/v1/realtime');
  sockets[0].serve().say(ping());
  assert.deepEqual([live.link.state, live.asOfMs], ['live', SERVER_MS - 1000]);
  await clock.advance(1000);
  sockets[0].say(ping({upstream: 'stale', bus: 'degraded'}));
  assert.deepEqual([live.link.state, live.link.bus, live.link.sinceMs], ['stale', 'degraded', 6000]);
  sockets[0].say({kind: 'bye', code: 4200, reason: 'draining', reconnect: 'after', min_s: 2, max_s: 4});
  const {state, code, reason, verdict, minS, maxS, retryAtMs} = live.link;
  assert.deepEqual([state, code, reason, verdict, minS, maxS], ['waiting', 4200, 'draining', 'window', 2, 4]);
  assert.equal(retryAtMs, 9000);
  await clock.advance(3000);
  assert.deepEqual([live.link.state, live.link.code, live.link.retryAtMs], ['connecting', null, null]);
  sockets[1].onopen();
  sockets[1].say(welcome({resumed: true}), {kind: 'changes', after: 5, upto: 5});
  assert.deepEqual([live.link.state, live.link.upstream], ['connecting', 'stale'], 'no ping has dated the data');
  sockets[1].say({kind: 'bye', code: 4005, reason: 'taken_over', by: 'Ada', reconnect: 'never'});
  assert.deepEqual([live.link.state, live.link.by, live.mirror.size], ['gone', 'Ada', 0]);
  assert.equal((await live.ended).code, 4005);
  assert.equal(clock.timers.size, 0, 'nothing is waited for any more');
  assert.equal(of('link').at(-1).state, 'gone');
});

test('a ping that shows a lost change does not date the data', async () => {
  const {live, sockets} = await connected();
  sockets[0].serve().say(ping());
  sockets[0].say(ping({after: 6, upto: 6, as_of_ms: SERVER_MS, upstream: 'stale'}));
  assert.deepEqual([live.link.state, live.asOfMs], ['stale', SERVER_MS - 1000], 'the change of 6 is missing');
  sockets[0].say({kind: 'changes', after: 0, upto: 6, stream: '1.a', reset: true, put: {}});
  sockets[0].say(ping({after: 6, upto: 6, as_of_ms: SERVER_MS}));
  assert.deepEqual([live.link.state, live.asOfMs], ['live', SERVER_MS]);
});

test('all changes of a frame are told at once, when they are made', async () => {
  const {live, sockets, told, of} = await connected();
  live.addEventListener('changes', () => told.push(['held', [...live.mirror.keys()]]));
  sockets[0].serve();
  const put = {'queue:2': {name: 'Two'}, 'queue:1': {name: 'Sales', contacts_waiting: 3}};
  sockets[0].say({kind: 'changes', after: 5, upto: 6, put, patch: {'queue:2': {level: 'ok'}}});
  const after = {name: 'Two', level: 'ok'};
  assert.deepEqual(of('changes').at(-1), [{key: 'queue:2', before: undefined, after}]);
  assert.deepEqual(told.at(-1), ['held', ['queue:1', 'queue:2']]);
  sockets[0].say({kind: 'changes', after: 6, upto: 7});
  assert.equal(of('changes').length, 2, 'what changes nothing is not told');
  assert.deepEqual([...live.of('queue')].map(([id]) => id), ['1', '2']);
  assert.throws(() => { live.mirror.get('queue:1').name = 'x'; }, TypeError);
});

test('a log-on names the notices that were accepted last', async () => {
  const {asked, env} = world();
  const notices = [0, ...Array(40).keys(), 9].map((number) => ({id: `n${number}`, version: 1}));
  await sdk.logOn({...WHO, base: 'http://x', env, notices});
  const named = JSON.parse(asked[0].body).accepted_notices.map(({id}) => id);
  const last = [...Array(40).keys()].slice(8).filter((number) => number !== 9);
  assert.deepEqual(named, [...last, 9].map((number) => `n${number}`), '32 at most, each once');
});

test('a command is pending until its outcome is told', async () => {
  const {live, sockets, clock, of} = await connected();
  sockets[0].serve();
  const args = {agent_id: '7', kind: 'cheat'};
  const outcome = live.command('agent.skills.set', args, {id: 'mine', deadlineS: 20});
  const sent = sockets[0].last('command');
  const {id, command: {kind}, expires_at_ms: expiresAtMs} = sent;
  assert.deepEqual([id, kind, expiresAtMs], ['mine', 'agent.skills.set', SERVER_MS + 20_000]);
  assert.deepEqual(live.pending.map((step) => [step.id, step.phase]), [['mine', 'sent']]);
  sockets[0].onclose({code: 1006});
  await clock.advance(250);
  sockets[1].serve();
  const again = sockets[1].last('command');
  assert.deepEqual(again, {...sent, retry: true});
  const error = {code: 'version_conflict', message: 'Changed.', version: 9};
  sockets[1].say({kind: 'result', id: 'mine', outcome: {status: 'rejected', error}});
  const {status, error: told} = await outcome;
  assert.deepEqual([status, told.code, told.retry], ['rejected', 'version_conflict', false]);
  assert.deepEqual(told.details, {version: 9});
  assert.deepEqual(of('command').map(({phase}) => phase), ['sent', 'repeated', 'done']);
  assert.equal(of('command').at(-1).outcome.status, 'rejected');
  assert.deepEqual(live.pending, []);
});

test('a value that a later gateway added is taken for the safe one', async () => {
  const {live, sockets: [socket]} = await connected();
  socket.serve();
  socket.say(ping({upstream: 'paused'}));
  assert.equal(live.link.state, 'stale');
  const asked = live.command('routing_state.set', {state: 'work'});
  socket.say({kind: 'result', id: socket.last('command').id, outcome: {status: 'queued'}});
  assert.equal((await asked).status, 'unknown');
});

test('data is live from the first ping of a connection until it ends or a change is lost', async () => {
  const {live, sockets, clock, of} = await connected();
  sockets[0].serve();
  assert.equal(live.link.state, 'connecting', 'the data is there, and may be of any age');
  assert.equal(of('sync').length, 1);
  sockets[0].say(ping());
  assert.equal(live.link.state, 'live');
  sockets[0].say({kind: 'changes', after: 8, upto: 9});
  assert.equal(live.link.state, 'stale', 'a change was lost');
  sockets[0].say({kind: 'changes', after: 0, upto: 9, stream: '1.b', reset: true, put: {}});
  assert.equal(live.link.state, 'live');
  sockets[0].say({kind: 'bye', code: 4200, reason: 'draining', reconnect: 'after', min_s: 0, max_s: 0});
  assert.equal(live.link.state, 'waiting', 'the socket is not closed yet');
  await clock.advance(0);
  sockets[1].onopen();
  sockets[1].say(welcome({resumed: true}), {kind: 'changes', after: 9, upto: 9});
  assert.deepEqual([live.link.state, live.link.upstream], ['connecting', 'live'], 'that was another connection');
  sockets[1].say(ping({after: 9, upto: 9}));
  assert.equal(live.link.state, 'live');
});

test('a link that does not answer after a change of network is quiet after a second', async () => {
  const {live, sockets, clock} = await connected();
  sockets[0].serve().say(ping());
  live.networkChanged();
  await clock.advance(999);
  assert.equal(live.link.quiet, false);
  await clock.advance(1);
  assert.equal(live.link.quiet, true);
  sockets[0].say(ping());
  assert.equal(live.link.quiet, false);
});

test('a result that is late has the gateway asked whether it is there', async () => {
  const {live, sockets, clock} = await connected();
  const [socket] = sockets;
  socket.serve();
  live.command('queue.pause', {});
  await clock.advance(2499);
  assert.equal(socket.last('pong'), undefined);
  await clock.advance(1);
  assert.deepEqual(socket.last('pong'), {kind: 'pong'});
  assert.equal(live.link.quiet, false, 'it has a second to answer');
  await clock.advance(1000);
  assert.equal(live.link.quiet, true);
  socket.say(ping());
  assert.equal(live.link.quiet, false, 'it is there: only the result is late');
  await clock.advance(2500);
  assert.equal(socket.sent.filter(({kind}) => kind === 'pong').length, 3, 'the ping is answered, and asked again');
  await clock.advance(3000);
  assert.equal(socket.closed, true);
  assert.deepEqual([live.link.state, live.link.quiet], ['waiting', false]);
});

test('a connection that a change of network ended is followed by another at once', async () => {
  const {live, sockets, clock} = await connected();
  sockets[0].serve();
  live.networkChanged();
  sockets[0].onclose({code: 1006});
  await clock.advance(0);
  assert.equal(sockets.length, 2);
});

test('a ping that is three seconds late makes a quiet link, ten a lost one', async () => {
  const {live, sockets, clock} = await connected();
  const [socket] = sockets;
  socket.serve();
  socket.say(ping());
  await clock.advance(27_999);
  assert.equal(live.link.quiet, false);
  await clock.advance(1);
  assert.equal(live.link.quiet, true);
  assert.deepEqual(socket.last('pong'), {kind: 'pong'});
  await clock.advance(6999);
  assert.equal(live.link.state, 'live');
  await clock.advance(1);
  assert.equal(live.link.state, 'waiting');
});

test('what waits is bounded, and what cannot be sent is refused at once', async () => {
  const {live, sockets, clock} = await connected();
  const early = await live.command('routing_state.set');
  assert.deepEqual([early.status, early.error.unreachable, early.error.retry], ['rejected', true, true]);
  sockets[0].serve();
  const waiting = Array.from({length: 64}, () => live.command('routing_state.set', {state: 'work'}));
  assert.equal((await live.command('routing_state.set')).error.code, 'overloaded');
  await clock.advance(10_000);
  const outcomes = await Promise.all(waiting);
  assert.ok(outcomes.every(({status, error}) => status === 'unknown' && error.code === 'upstream_timeout'));
  assert.equal(live.pending.length, 0);
});

test('the difference of the clocks is known from the least late reading', async () => {
  const {live, sockets, clock} = await connected();
  assert.deepEqual([live.offsetMs, live.serverTimeMs()], [null, null]);
  sockets[0].serve();
  assert.equal(live.offsetMs, SERVER_MS - 5000);
  await clock.advance(1000);
  sockets[0].say(ping({server_time_ms: SERVER_MS + 400}));
  assert.equal(live.serverTimeMs(), SERVER_MS + 1000, 'a late frame does not turn the clock back');
  sockets[0].say(ping({server_time_ms: SERVER_MS + 1000 - 3_600_000}));
  assert.equal(live.serverTimeMs(), SERVER_MS + 1000 - 3_600_000, 'no frame is that late: the clock was set');
});

test('a clock that was set back is followed at the second reading that agrees', async () => {
  const {live, sockets, clock} = await connected();
  sockets[0].serve();
  await clock.advance(1000);
  const readings = [[0, -30_000, 0], [1000, -32_000, 0], [1000, -12_000, 0], [0, -12_500, 0], [1000, -12_100, -12_100]];
  let nowMs = SERVER_MS + 1000;
  for (const [passed, late, followed] of readings) {
    await clock.advance(passed);
    nowMs += passed;
    sockets[0].say(ping({server_time_ms: nowMs + late}));
    assert.equal(live.serverTimeMs(), nowMs + followed);
  }
});

test('a follow that was replaced does not overtake the newer one after a reconnect', async () => {
  const {live, sockets, clock} = await connected();
  sockets[0].serve();
  const follows = [live.follow(['queues']), live.follow(['agents'])];
  sockets[0].onclose({code: 1006});
  await clock.advance(60_000);
  const socket = sockets.at(-1);
  assert.notEqual(socket, sockets[0]);
  socket.serve();
  assert.deepEqual(socket.last('hello').topics, ['agents']);
  assert.equal(socket.last('follow'), undefined);
  await Promise.all(follows);
});

test('a refused resume ends the wait for it', async () => {
  const {live, sockets} = await connected();
  sockets[0].onopen();
  const follow = live.follow(['queues']);
  sockets[0].say({kind: 'bye', code: 4001, reason: 'token_invalid', reconnect: 'never'});
  const details = {close_code: 4001, reason: 'token_invalid', by: null};
  await assert.rejects(live.ready, {code: 'session_ended', details});
  await assert.rejects(follow, {code: 'session_ended'});
  await assert.rejects(live.follow(['agents']), {code: 'session_ended'});
});

test('a log-off that is not confirmed is told until it is', async () => {
  const {live, session, sockets, answers, clock, of} = await connected();
  sockets[0].serve();
  answers.push([202, {state: 'pending', routed_until_ms: 77}]);
  answers.push([202, {state: 'pending', routed_until_ms: 78, retry_after_s: 5}]);
  answers.push([503, {code: 'busy', retry_after_s: 3}], [204]);
  const off = live.logOff();
  assert.deepEqual([sockets[0].last('bye'), live.mirror.size, sockets[0].closed], [{kind: 'bye'}, 0, true]);
  await clock.advance(0);
  assert.deepEqual(of('logoff'), [{routedUntilMs: 77, retryInS: 0.25}]);
  assert.equal(session.kept().token, 'token-1');
  await clock.advance(250);
  assert.deepEqual(of('logoff').at(-1), {routedUntilMs: 78, retryInS: 5});
  await clock.advance(4999);
  assert.equal(of('logoff').length, 2);
  await clock.advance(1);
  assert.deepEqual(of('logoff').at(-1), {routedUntilMs: null, retryInS: 3});
  await clock.advance(3000);
  await off;
  assert.equal(session.kept(), null);
  assert.deepEqual([live.link.state, live.link.code, live.link.by], ['gone', 4005, 'self']);
});

test('a session can be kept, and goes on where it was', async () => {
  const {session, env} = await connected();
  const kept = JSON.parse(JSON.stringify(session.kept()));
  assert.doesNotMatch(JSON.stringify(kept), /secret|ada/);
  const again = sdk.adopt(kept, {base: 'https://gateway.example', env});
  assert.deepEqual(again.kept(), session.kept());
});

test('neither token nor password is shown by accident', async () => {
  const {session, live, sockets} = await connected();
  sockets[0].serve();
  const deep = {depth: 9};
  for (const shown of [inspect(session, deep), JSON.stringify(session), inspect(live, deep)]) {
    assert.doesNotMatch(shown, /token-1|secret/);
  }
});

test('a request stays where it is sent: no cookies, no redirects, no cache', async () => {
  const {asked} = await connected();
  const {credentials, redirect, cache, referrerPolicy} = asked[0];
  const said = [credentials, redirect, cache, referrerPolicy];
  assert.deepEqual(said, ['omit', 'error', 'no-store', 'no-referrer']);
});

test('an answer has its time and its length', async () => {
  const {clock, env} = world();
  env.fetch = (_, {signal}) => new Promise((_done, reject) => { signal.onabort = () => reject(new Error()); });
  const silent = sdk.about({base: 'http://x', env});
  silent.catch(() => {});
  await clock.advance(15_000);
  await assert.rejects(silent, {code: 'upstream_unavailable', unreachable: true});
  env.fetch = async () => new Response('x'.repeat(17 * 1024 * 1024));
  await assert.rejects(sdk.about({base: 'http://x', env}), {unreachable: true});
});

test('without a WebSocket the program is told so', async () => {
  const {env} = world();
  const session = await sdk.logOn({...WHO, base: 'http://x', env: {...env, WebSocket: undefined}});
  assert.throws(() => sdk.connect(session), /env\.WebSocket/);
});

test('the module is one, small, and keeps nothing', () => {
  assert.ok(Buffer.byteLength(text) <= 44 * 1024, `${Buffer.byteLength(text)} bytes`);
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
  assert.doesNotMatch(code, /^\s*import\b|\bimport\(|\brequire\(/m);
  assert.doesNotMatch(code, /localStorage|sessionStorage|indexedDB|caches\b|document\b|cookie/);
  assert.doesNotMatch(code, /\beval\(|new Function|innerHTML/, 'a strict content security policy');
});

test('the types name what there is', async () => {
  const types = readFileSync(new URL('oscc-client.d.ts', SOURCE), 'utf8');
  const {live, session} = await connected();
  const things = {GatewayError: new sdk.GatewayError('busy'), Session: session, Connection: live};
  for (const [, name, body] of types.matchAll(/^export class (\w+) extends \w+ \{\n([\s\S]*?)^\}/gm)) {
    const thing = things[name], proto = Object.getPrototypeOf(thing);
    const declared = [...body.matchAll(/^ {2}(?:get )?(\w+)[(:]/gm)].map(([, member]) => member);
    const own = [...Object.getOwnPropertyNames(proto), ...Object.keys(thing)].filter((one) => one !== 'name');
    assert.deepEqual([...new Set(declared)].sort(), [...new Set(own)].sort(), name);
  }
  const exported = [...types.matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(exported.sort(), Object.keys(sdk).sort());
});
