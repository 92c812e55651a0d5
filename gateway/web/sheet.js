/** The page of one agent: state, contacts, skills, and commands. */
import {outcomeText} from './acts.js';
import {fact} from './place.js';
import {dialog} from './dialog.js';
import {Skills} from './skills.js';
import {
  allowed,
  askState,
  contactOf,
  drawUndone,
  pendingText,
  pickReason,
  setBy,
  stateIcon,
  stateOf,
  tick,
  timer,
  withReason,
} from './states.js';
import {
  button, byName, clock, day, dotted, fill, h, icon, isolated, isToday, left, NONE, num, put, shown, span, t, tOr,
} from './ui.js';

const STATES = ['available', 'unavailable', 'work'];
const COMMAND = 'agent.routing_state.set';

export class Sheet {
  constructor(live, go) {
    Object.assign(this, {live, go, id: null});
    this.title = h('h2', {tabindex: '-1'});
    this.under = h('p', {class: 'muted'});
    this.state = h('div', {class: 'agent-state'});
    this.acts = h('div', {class: 'acts', role: 'group', 'aria-label': t('agent.ask')});
    this.last = h('p', {class: 'last muted'});
    this.undone = h('div', {});
    this.contacts = h('ul', {class: 'contacts'});
    this.skills = new Skills(live);
    this.facts = h('dl', {class: 'facts'});
    this.off = h('section', {class: 'part way-out', hidden: true});
    this.element = h(
      'article',
      {class: 'page'},
      h('header', {class: 'page-head'}, h('div', {}, this.title, this.under)),
      this.state,
      this.contacts,
      this.acts,
      this.last,
      this.undone,
      this.skills.element,
      h('section', {class: 'part'}, h('h3', {}, t('agent.today')), this.facts),
      this.off,
    );
  }

  get key() {
    return `agent:${this.id}`;
  }
  get agent() {
    return this.live.get(this.key);
  }

  open(id) {
    this.id = id;
    this.read(null);
  }

  read() {
    this.draw();
    tick(this.element, this.live.now());
  }

  second() {
    this.drawUndone();
    tick(this.element, this.live.now());
  }

  draw() {
    const {agent, live, key} = this;
    put(this.title, agent ? (agent.display_name ?? NONE) : live.whole ? t('gone.here') : NONE);
    for (const part of [...this.element.children].slice(1)) shown(part, Boolean(agent));
    if (!agent) return put(this.under, '');
    const teams = (agent.group_ids ?? []).map((id) => live.get(`group:${id}`)?.name).filter(Boolean);
    put(this.under, dotted(agent.extension, ...teams, agent.logged_on_remotely && t('agent.remote')));
    this.drawState(agent, key);
    const several = (agent.handling ?? []).length > 1 ? agent.handling : [];
    fill(this.contacts, [several, several.map((contact) => this.about(contact))], () =>
      several.map((contact) =>
        h(
          'li',
          {},
          stateIcon(
            contact.state === 'post_processing'
              ? 'post'
              : contact.state === 'ringing'
                ? 'ringing'
                : 'contact',
          ),
          h('span', {}, dotted(t(`handling.${contact.state}`), this.about(contact))),
          timer(contact.since_ms),
        ),
      ),
    );
    this.drawActs(agent);
    this.skills.draw(this.id, agent);
    const queues = (agent.queue_ids ?? [])
      .map((id) => live.get(`queue:${id}`)?.name)
      .filter(Boolean)
      .sort(byName)
      .map(isolated)
      .join(', ');
    fill(
      this.facts,
      [agent.handled_today, agent.talk_s_today, agent.day_start_ms, queues],
      () => [
        fact(t('agent.handled'), num(agent.handled_today)),
        fact(t('agent.talk'), agent.talk_s_today == null ? NONE : span(agent.talk_s_today * 1000)),
        fact(t('agent.since'), (isToday(agent.day_start_ms) ? clock : day)(agent.day_start_ms)),
        fact(t('agent.queues'), queues || NONE),
      ],
    );
  }

  /** The queue and the medium of a contact. */
  about(contact) {
    const queue = contact.direct ? t('direct') : this.live.get(`queue:${contact.queue_id}`)?.name;
    return dotted(queue, tOr(`media.${contact.media}`, contact.media));
  }

  drawState(agent, key) {
    const {live} = this;
    const state = stateOf(agent);
    const contact = contactOf(agent);
    const reason = live.reason(agent.reason_id);
    const asked = live.asked(key);
    const pending = pendingText(live, key, agent);
    const routing =
      state.name !== agent.routing_state && agent.routing_state
        ? (pending ?? withReason(t(`state.${agent.routing_state}`), reason))
        : null;
    const by = setBy(agent);
    const until = agent.post_processing?.ends_at_ms;
    // what is pending stands in the chip below
    const under = routing
      ? dotted(contact && this.about(contact), !pending && t('agent.routing', routing))
      : dotted(reason, by && t('agent.by', by));
    fill(
      this.state,
      [
        state,
        under,
        pending,
        agent.pending_by,
        asked?.what,
        agent.app_absent_since_ms,
        agent.post_processing,
      ],
      () => [
        h(
          'p',
          {class: 'now', 'data-state': state.name},
          stateIcon(state.name),
          h('strong', {}, state.text),
          until ? h('span', {class: 'timer'}, left(until)) : timer(state.since),
        ),
        // always present, so that nothing below moves when a reason or a role appears
        h('p', {class: 'muted'}, under || '\u00a0'),
        h(
          'p',
          {class: 'chip next', 'data-asked': asked !== null, 'data-empty': !pending && !asked},
          icon(asked ? 'wait' : 'next'),
          asked
            ? t('asked', asked.what)
            : dotted(pending, t('after.contact'), agent.pending_by && tOr(`by.${agent.pending_by}`, agent.pending_by)),
        ),
        agent.app_absent_since_ms &&
          h('p', {class: 'chip warn'}, icon('down'), t('absent.long'), ' ', timer(agent.app_absent_since_ms)),
      ],
    );
  }

  drawUndone() {
    const {agent, live, key} = this;
    drawUndone(this.undone, live, key, agent?.display_name ?? NONE, (state, reason) => this.ask(state, reason));
  }

  /** The buttons of the states; each keeps its place, allowed or not. */
  drawActs(agent) {
    const {live, key} = this;
    const offered = STATES.filter((state) => allowed(live, agent, COMMAND, state));
    const busy = live.asked(key) !== null;
    const canWrite = live.may(COMMAND, 'routing_state_write');
    const catalogue = STATES.map((state) => [live.reasons(state).length > 0, live.needsReason(state)]);
    fill(this.acts, [offered, busy, agent.display_name, canWrite, catalogue], () =>
      canWrite ? STATES.map((state, place) => this.setter(state, offered, busy, catalogue[place])) : [],
    );
    const last = live.last(key);
    const nothing = canWrite && !offered.length ? t(live.frozen ? 'acts.frozen' : 'acts.none') : '';
    put(this.last, nothing || (last ? `${t('agent.last')}: ${last.what} · ${outcomeText(last)}` : ''));
    this.drawUndone();
    const off = canWrite && agent.routing_state !== 'logged_off';
    shown(this.off, off);
    const may = allowed(live, agent, COMMAND, 'logged_off') && !busy;
    fill(this.off, [off, may], () =>
      button([stateIcon('logged_off'), t('set.logged_off')], () => this.logOff(), '', {
        'aria-disabled': !may && 'true',
      }),
    );
  }

  setter(state, offered, busy, [hasReasons, isNeeded]) {
    const off = (busy || !offered.includes(state)) && 'true';
    const ask = button([stateIcon(state), t(`set.${state}`)], () => this.ask(state), '', {
      'aria-disabled': off,
    });
    if (!hasReasons || isNeeded) return ask;
    return h(
      'span',
      {class: 'split'},
      ask,
      h(
        'button',
        {
          type: 'button',
          class: 'button',
          'aria-disabled': off,
          'aria-label': t('reason.for', t(`state.${state}`)),
          onclick: () => this.withReason(state),
        },
        '…',
      ),
    );
  }

  /** Ask before an agent is logged off. */
  logOff() {
    const {agent} = this;
    const name = agent.display_name ?? NONE;
    dialog({
      title: t('log.off.agent', name),
      body: h('p', {}, t(agent.handling?.length ? 'log.off.agent.after' : 'log.off.agent.now', name)),
      actions: [
        {label: t('cancel')},
        {
          label: t('set.logged_off'),
          kind: 'primary',
          run: () => {
            this.ask('logged_off');
          },
        },
      ],
    });
  }

  ask(state, reason) {
    return askState(this.live, {
      command: 'agent.routing_state.set',
      args: {agent_id: this.id},
      key: this.key,
      state,
      reason,
      who: this.agent.display_name,
    });
  }

  async withReason(state) {
    const reason = await pickReason(this.live, state);
    if (reason !== undefined) this.ask(state, reason);
  }
}
