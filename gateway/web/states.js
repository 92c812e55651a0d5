/** States of agents: icons, texts, times, and commands that set them. */
import {pick} from './dialog.js';
import {
  able, button, fill, h, icon, isolated, minute, NONE, put, refusal, refused, say, since, span, t, toast, tOr,
} from './ui.js';

/** States in the order of importance. */
const HANDLING = ['talking', 'consulting', 'holding', 'ringing', 'pending', 'post_processing', 'unknown'];
const OF_HANDLING = {ringing: 'ringing', pending: 'ringing', post_processing: 'post'};
/** States in the order of lists and counts. */
export const SHOWN = [
  'contact',
  'ringing',
  'post',
  'available',
  'unavailable',
  'work',
  'logged_off',
  'unknown',
];
export const ICONS = {
  contact: 'contact',
  ringing: 'ringing',
  post: 'post',
  available: 'available',
  unavailable: 'unavailable',
  work: 'work',
  logged_off: 'off',
  unknown: 'unknown',
};
const FOR_STATE = {
  available: 'set_available',
  unavailable: 'set_unavailable',
  work: 'set_work',
  logged_off: 'log_off',
};
const RIGHT = {'agent.routing_state.set': 'routing_state_write', 'routing_state.set': 'own_routing_state'};

/** The most important contact of an agent, if any. */
export const contactOf = (agent) =>
  [...(agent.handling ?? [])].sort((a, b) => HANDLING.indexOf(a.state) - HANDLING.indexOf(b.state))[0] ??
  null;

/** What an agent does: `name` is one of SHOWN. @returns {{name: string, text: string, since: number|null}} */
export function stateOf(agent) {
  const contact = contactOf(agent);
  if (contact)
    return {
      name: OF_HANDLING[contact.state] ?? 'contact',
      text: t(`handling.${contact.state}`),
      since: contact.since_ms ?? null,
    };
  const name = agent.routing_state ?? 'unknown';
  return {name, text: tOr(`state.${name}`, name), since: agent.routing_state_since_ms ?? null};
}

/** A state with its reason in words. */
export const withReason = (text, reason) => (reason ? `${text} – ${isolated(reason)}` : text);

/** The pending state, as received: null when nothing is pending. `by` as for `pendingReason`. */
export function pendingText(live, key, agent, by = null) {
  const state = agent.pending_routing_state;
  return state ? withReason(t(`state.${state}`), live.pendingReason(key, state, by)) : null;
}

/** Who set the routing state, in words, when it was not the agent; a role, never a name. */
export const setBy = (agent) => {
  const by = agent.routing_state_by;
  return by === 'supervisor' || by === 'system' ? t(`by.${by}`) : null;
};

/** Whether a state may be asked for: the agent's state, the session's rights, gateway and link allow it. */
export const allowed = (live, agent, command, state) =>
  !live.frozen &&
  live.may(command, RIGHT[command]) &&
  (agent.allowed_actions ?? []).includes(FOR_STATE[state]);

/**
 * Ask for a routing state; a reason is asked for where one is needed.
 * @param {string|null|undefined} reason an id; undefined: ask the person when one is needed
 */
export async function askState(live, {command, args = {}, key, state, reason, who}) {
  const agent = live.get(key) ?? {};
  let chosen = reason;
  if (chosen === undefined && live.needsReason(state)) {
    chosen = await pickReason(live, state);
    if (chosen === undefined) return null;
  }
  const when = agent.handling?.length ? 'after_contact' : 'now';
  const wish = withReason(t(`state.${state}`), chosen ? live.reason(chosen) : null);
  const what = who ? `${isolated(who)} → ${wish}` : wish;
  const outcome = await live.ask(
    command,
    {...args, state, when, ...(chosen ? {reason_id: chosen} : {})},
    {key, what, wants: state},
  );
  return tellOutcome(outcome, what);
}

/** Let the person pick a reason for a state. @returns {Promise<string|undefined>} */
export const pickReason = (live, state) =>
  pick(
    t('reason.for', t(`state.${state}`)),
    live.reasons(state).map(({reason_id: value, name}) => ({value, label: name})),
    t(live.needsReason(state) ? 'reason.must' : 'reason.may'),
  );

/** Show the outcome of a command, unless the page shows it anyway. */
export function tellOutcome(outcome, what) {
  if (outcome.status === 'rejected') toast(`${what}: ${refusal(outcome.error)}`, 'bad');
  else if (outcome.status === 'unknown') toast(`${what}: ${t('outcome.unknown.long')}`, 'bad');
  else if (outcome.status === 'unchanged') toast(t('outcome.unchanged.long', what));
  else say(`${what}: ${t(`outcome.${outcome.status}`)}`);
  return outcome;
}

/**
 * Show in *place* that the last command was not carried out, and the way to ask again.
 * @param {string|null} who null: the person that looks
 */
export function drawUndone(place, live, key, who, again) {
  const act = live.undone(key);
  const is = stateOf(live.get(key) ?? {}).text;
  fill(place, act && [act.at, is, live.frozen, live.waits(act)], () => [
    act && undoneNote(act, is, live, key, who, again),
  ]);
}

function undoneNote(act, is, live, key, who, again) {
  const seen = () => {
    act.seen = true;
    live.touch(key);
    live.touch('acts');
  };
  const answered = act.after !== 'undone';
  const silent = [is, minute(act.at)];
  // without a state: the person uses the same button or switch again
  const repeat = act.wants && button(t(`set.${act.wants}`), () => {
    seen();
    again(act.wants, act.args.reason_id);
  }, 'small');
  if (repeat) able(repeat, !answered || (!live.frozen && !live.waits(act)));
  return h(
    'div',
    {class: 'unsure', role: answered ? null : 'alert'},
    answered
      ? h('p', {}, t('undone', act.what, refused(act.outcome.error)), ' ', whenAgain(live, act))
      : h('p', {}, who === null ? t('unsure.me', ...silent) : t('unsure.other', who, ...silent)),
    repeat,
    h(
      'button',
      {type: 'button', class: 'quiet square', 'aria-label': t('close'), onclick: seen},
      icon('close'),
    ),
  );
}

/** From when on a refused command may be repeated, in words or as a countdown. */
function whenAgain(live, act) {
  if (live.frozen) return t('again.live');
  return live.waits(act) ? [t('again.wait'), ' ', h('time', {'data-until': act.again})] : t('again.now');
}

/** A small figure with its icon: never colour alone. */
export const stateIcon = (name) => icon(ICONS[name] ?? 'unknown', `s-${name}`);

/** A running time since an instant; `tick` moves it. */
export const timer = (ms, kind = '') => h('time', {class: `timer ${kind}`, 'data-since': ms ?? ''}, NONE);

/** Update all times below an element. */
export function tick(root, now) {
  for (const each of root.querySelectorAll('[data-since]'))
    put(each, since(each.dataset.since === '' ? null : Number(each.dataset.since), now));
  for (const each of root.querySelectorAll('[data-until]')) {
    const until = Number(each.dataset.until);
    put(each, now === null || !each.dataset.until ? NONE : span(until - now + 999));
  }
}

/** The number of agents in each state. */
export function count(agents) {
  const found = Object.fromEntries(SHOWN.map((name) => [name, 0]));
  for (const agent of agents) found[stateOf(agent).name] += 1;
  return found;
}
