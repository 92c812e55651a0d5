/** The Remote Assistant's main page: the agent's state, buttons to change it, and the state that follows. */
import {PostProcessing} from './post.js';
import {Mine} from './mine.js';
import {
  allowed,
  askState,
  contactOf,
  drawUndone,
  pendingText,
  pickReason,
  stateIcon,
  stateOf,
  tick,
  timer,
  withReason,
} from './states.js';
import {able, attribute, button, dotted, fill, h, icon, NONE, put, say, shown, t, tOr} from './ui.js';

const STATES = ['available', 'unavailable', 'work'];
const COMMAND = 'routing_state.set';
/** A state that comes this soon after the person's own command counts as their own change. */
const OWN_MS = 30_000;
const SOON_MS = 10_000;
const CALLS_NEED = ['voice', 'routing', 'remote_agent'];

export function view(live, shell) {
  return new Assistant(live, shell).element;
}

/** The role that changed the person's own state; a name is never known. */
const OTHERS = ['supervisor', 'system'];

/** The reason why no call can ring, as text; null: calls can ring. */
function noCall(live) {
  const functions = live.get('site')?.functions ?? {};
  const down = CALLS_NEED.filter((name) => functions[name] === 'down');
  return down.length ? t('no.call', down.map((name) => t(`function.${name}`)).join(', ')) : null;
}

const cross = (label, act, off = false) =>
  h(
    'button',
    {type: 'button', class: 'chip-x', 'aria-label': label, 'aria-disabled': off && 'true', onclick: act},
    icon('close'),
  );

class Assistant {
  constructor(live, shell) {
    Object.assign(this, {live, shell});
    shell.leaveAfter = () => this.leaveAfter();
    this.post = new PostProcessing(live);
    this.mine = new Mine(live, shell);
    this.build();
    live.read(() => {
      live.follow();
      this.draw();
      this.mine.draw();
    });
    live.each(() => this.second());
    this.draw();
  }

  get key() {
    return this.live.me.agent ? `agent:${this.live.me.agent}` : null;
  }
  get agent() {
    return (this.key && this.live.get(this.key)) ?? {};
  }

  build() {
    this.mark = h('span', {class: 'hero-mark'}, stateIcon('unknown'));
    this.name = h('p', {class: 'hero-name'}, NONE);
    this.reason = h('p', {class: 'hero-reason'});
    this.time = h('div', {class: 'hero-time'});
    this.next = h('div', {class: 'hero-next'});
    this.undone = h('div', {class: 'card', hidden: true});
    this.dockTitle = h('h2', {class: 'small-title dock-title', id: 'dock-title'});
    this.buttons = STATES.map((state) =>
      h(
        'button',
        {type: 'button', class: 'set', 'data-state': state, onclick: () => this.tap(state)},
        stateIcon(state),
        h('span', {}, t(`set.${state}`)),
      ),
    );
    this.reasons = h('div', {class: 'chips', role: 'group'});
    this.reasonsPart = h(
      'section',
      {class: 'reasons-part', hidden: true},
      h('h2', {class: 'small-title'}, t('reason')),
      this.reasons,
    );
    this.start = button(t('post.start'), () => this.post.start(), 'small');
    // as high as its tallest content, so that nothing below moves when the content changes
    this.area = h('div', {class: 'area'}, this.post.element, this.start, this.reasonsPart);
    this.hero = h(
      'section',
      {class: 'hero data', 'aria-label': t('my.state')},
      this.mark,
      h('div', {class: 'hero-text'}, this.name, this.reason),
      this.time,
      this.post.bar,
      this.next,
    );
    this.element = h(
      'div',
      {class: 'assist'},
      h('h1', {class: 'sr'}, t('app.remote_assistant')),
      h(
        'div',
        {class: 'assist-main'},
        this.hero,
        h(
          'section',
          {class: 'dock', 'aria-labelledby': 'dock-title'},
          this.dockTitle,
          h('div', {class: 'sets'}, this.buttons),
        ),
        this.undone,
        this.area,
      ),
      this.mine.element,
    );
  }

  second() {
    this.drawUndone();
    tick(this.element, this.live.now());
    this.post.second();
    this.warn();
    this.mine.second();
  }

  draw() {
    const {live, key, agent, shell} = this;
    if (shell.leavesAfter && !live.frozen && live.whole && agent.handling?.length === 0) return shell.leave();
    const state = stateOf(agent);
    const contact = contactOf(agent);
    const own = live.reason(agent.reason_id);
    const until = agent.post_processing?.ends_at_ms ?? null;
    attribute(this.hero, 'data-state', state.name);
    fill(this.mark, state.name, () => [stateIcon(state.name)]);
    put(this.name, live.whole ? state.text : NONE);
    const others = OTHERS.includes(agent.routing_state_by) ? t(`my.by.${agent.routing_state_by}`) : null;
    const detail = contact ? this.contactText(contact, agent, own) : (own ?? '');
    put(this.reason, dotted(detail, !contact && others));
    fill(this.time, [state.since, until], () =>
      until
        ? [
            h('small', {}, t('post.left.before')),
            h('time', {'data-until': until}),
            h('small', {}, t('post.left.after')),
          ]
        : [timer(state.since)],
    );
    this.drawNext(agent, key);
    this.drawUndone();
    this.drawDock(agent, key);
    this.drawReasons(agent, key);
    this.post.draw(key, agent);
    shown(
      this.start,
      (agent.allowed_actions ?? []).includes('start_post_processing') &&
        live.may('post_processing.start', 'own_post_processing'),
    );
    able(this.start, !live.frozen && live.asked(key) === null);
    put(this.start, t(contact ? 'post.start.then' : 'post.start'));
    tick(this.element, live.now());
    if (live.whole && !live.frozen) this.heed(agent);
    const spoken = withReason(state.text, detail);
    if (live.whole && this.spoken !== spoken) {
      if (this.spoken) say(spoken);
      this.spoken = spoken;
    }
  }

  /** Alert the person of a contact that rang in vain, and of a state that others have set. */
  heed(agent) {
    const {live, shell, heeded: before} = this;
    const rings = (agent.handling ?? []).filter(({state}) => state === 'ringing').map((each) => each.contact_id);
    const there = new Set((agent.handling ?? []).map((each) => each.contact_id));
    this.heeded = {
      agent: this.key,
      rings,
      state: agent.routing_state,
      reason: agent.reason_id,
      pending: agent.pending_routing_state,
    };
    if (before?.agent !== this.key) return;
    if (before.rings.some((id) => !there.has(id))) shell.alerts.agent(t('alert.vain'));
    const text = this.changedBy(agent, before) ?? this.pendingBy(agent, before);
    if (text) shell.alerts.agent(text);
  }

  /** The state that others have set. Where the server does not report who set it, the commands given here decide. */
  changedBy(agent, before) {
    const {routing_state: state, routing_state_by: by, reason_id: reason} = agent;
    const {live} = this;
    const told = () => withReason(t(`state.${state}`), live.reason(reason));
    if (OTHERS.includes(by))
      return before.state !== state || before.reason !== reason ? t(`alert.state.${by}`, told()) : null;
    const mine = by === 'self' || live.acts.some((act) => act.key === this.key && act.wants === state &&
      live.wall - act.at < OWN_MS);
    const other = before.state !== state && before.pending !== state && !mine;
    return other ? t('alert.state', told()) : null;
  }

  /** The state that others have set for after the contact. */
  pendingBy(agent, before) {
    const {pending_routing_state: pending, pending_by: by} = agent;
    if (!pending || pending === before.pending || !OTHERS.includes(by)) return null;
    return t(`alert.pending.${by}`, pendingText(this.live, this.key, agent));
  }

  /** Alert once when post-processing is about to end. */
  warn() {
    const {live, agent, shell} = this;
    const until = agent.post_processing?.ends_at_ms ?? null;
    const left = until === null || live.frozen ? Infinity : until - live.now();
    if (left > 0 && left <= SOON_MS && this.warned !== until) {
      this.warned = until;
      shell.alerts.agent(t('alert.post'));
    }
  }

  contactText(contact, agent, reason) {
    const queue = contact.direct ? t('direct') : this.live.get(`queue:${contact.queue_id}`)?.name;
    const after =
      pendingText(this.live, this.key, agent, 'self') ??
      (agent.routing_state && withReason(t(`state.${agent.routing_state}`), reason));
    const routing = after && t('agent.routing', after);
    return dotted(queue, tOr(`media.${contact.media}`, contact.media), routing);
  }

  drawUndone() {
    const {key, live} = this;
    shown(this.undone, live.undone(key) !== null);
    drawUndone(this.undone, live, key, null, (state, reason) => this.ask(state, reason));
  }

  drawNext(agent, key) {
    const {live, shell} = this;
    const asked = live.asked(key);
    const leaving = shell.leavesAfter;
    const pending = leaving ? null : pendingText(live, key, agent, 'self');
    const post = agent.pending_post_processing === true;
    // one line at a time, so that nothing below moves; the banner always shows which function is down
    const silent = !asked && !leaving && !pending && !post && live.whole && noCall(live);
    fill(this.next, [pending, agent.pending_by, asked?.what, live.frozen, leaving, silent, post], () => [
      silent && h('p', {class: 'chip next big-chip no-call'}, icon('attention'), h('span', {}, silent)),
      leaving &&
        !asked &&
        h(
          'p',
          {class: 'chip next big-chip'},
          icon('off'),
          h('span', {}, t('leaving.after')),
          cross(t('leaving.after.cancel'), () => this.stay(agent)),
        ),
      pending &&
        !asked &&
        h(
          'p',
          {class: 'chip next big-chip'},
          icon('next'),
          h(
            'span',
            {},
            post ? `${t('state.post')} · ` : '',
            t('pending.text', pending),
            agent.pending_by && agent.pending_by !== 'self'
              ? ` (${tOr(`my.by.${agent.pending_by}`, agent.pending_by)})`
              : '',
          ),
          cross(t('pending.cancel'), () => this.ask(agent.routing_state, null), live.frozen),
        ),
      post &&
        !pending &&
        !asked &&
        h('p', {class: 'chip next big-chip'}, icon('post'), h('span', {}, t('post.start.then'))),
      asked &&
        h(
          'p',
          {class: 'chip next big-chip', 'data-asked': true},
          icon('wait'),
          h('span', {}, t('asked', asked.what)),
        ),
    ]);
  }

  drawDock(agent, key) {
    const {live} = this;
    const busy = live.asked(key);
    const later = Boolean(agent.handling?.length);
    const goal = later ? (agent.pending_routing_state ?? agent.routing_state) : agent.routing_state;
    put(this.dockTitle, t(later ? 'dock.after' : 'dock.now'));
    STATES.forEach((state, place) => {
      const each = this.buttons[place];
      attribute(each, 'aria-pressed', String(state === goal));
      attribute(each, 'data-asked', busy?.wants === state);
      able(each, busy === null && allowed(live, agent, COMMAND, state));
    });
  }

  /** The reasons for the present or the next state: one tap adds one. */
  drawReasons(agent, key) {
    const {live} = this;
    const later = Boolean(agent.handling?.length);
    const state = later ? agent.pending_routing_state : agent.routing_state;
    const list =
      state && state !== 'logged_off' && (live.frozen || allowed(live, agent, COMMAND, state))
        ? live.reasons(state)
        : [];
    const off = live.frozen || live.asked(key) !== null;
    const chosen = later ? live.pendingReason(key, state, 'self') : live.reason(agent.reason_id);
    shown(this.reasonsPart, list.length > 0);
    attribute(this.reasons, 'aria-label', list.length ? t('reason.for', t(`state.${state}`)) : null);
    fill(this.reasons, [state, list, chosen, off], () =>
      list.map(({reason_id: id, name}) =>
        h(
          'button',
          {
            type: 'button',
            class: 'chip',
            'aria-pressed': String(name === chosen),
            'aria-disabled': off && 'true',
            onclick: () => this.ask(state, id),
          },
          name,
        ),
      ),
    );
  }

  // ---- log-off after the contact ----

  /** Log off when the contact has ended; until then request a state in which no further contact comes. */
  leaveAfter() {
    const {agent, live, shell} = this;
    shell.leavesAfter = true;
    const calm = agent.routing_state !== 'unavailable' && !live.needsReason('unavailable');
    if (calm && allowed(live, agent, COMMAND, 'unavailable')) this.ask('unavailable', null);
    this.draw();
  }

  /** Cancel the log-off, and take back the state that was requested for it. */
  stay(agent) {
    this.shell.leavesAfter = false;
    if (agent.pending_routing_state === 'unavailable') this.ask(agent.routing_state, null);
    this.draw();
  }

  tap(state) {
    const {agent, live} = this;
    if (state === agent.routing_state && !agent.pending_routing_state && live.reasons(state).length)
      return this.reasonFor(state);
    return this.ask(state);
  }

  async reasonFor(state) {
    const reason = await pickReason(this.live, state);
    if (reason !== undefined) this.ask(state, reason);
  }

  ask(state, reason) {
    return askState(this.live, {command: COMMAND, key: this.key, state, reason});
  }
}
