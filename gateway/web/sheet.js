/** What about one agent: state, contacts, skills, and what may be asked for? */
import {edit, numberControl} from './edit.js';
import {fact} from './place.js';
import {allowed, askState, contactOf, pendingText, pickReason, stateIcon, stateOf, tick, timer, withReason} from './states.js';
import {button, fill, h, icon, put, shown} from './ui.js';
import {NONE, byName, clock, num, span, t, tOr} from './words.js';
import {outcomeText} from './acts.js';

const STATES = ['available', 'unavailable', 'work', 'logged_off'];

export class Sheet {
  constructor(live, go) {
    Object.assign(this, {live, go, id: null});
    this.title = h('h2', {tabindex: '-1'});
    this.under = h('p', {class: 'muted'});
    this.state = h('div', {class: 'agent-state'});
    this.acts = h('div', {class: 'acts', role: 'group', 'aria-label': t('agent.ask')});
    this.last = h('p', {class: 'last muted'});
    this.contacts = h('ul', {class: 'contacts'});
    this.skills = h('ul', {class: 'skills'});
    this.edit = button(t('skills.edit'), () => this.change(), 'small');
    this.facts = h('dl', {class: 'facts'});
    this.element = h('article', {class: 'page'}, h('header', {class: 'page-head'}, h('div', {}, this.title, this.under)), this.state, this.contacts, this.acts, this.last,
      h('section', {class: 'part'}, h('h3', {}, t('skills'), this.edit), this.skills), h('section', {class: 'part'}, h('h3', {}, t('agent.today')), this.facts));
  }

  get key() { return `agent:${this.id}`; }
  get agent() { return this.live.get(this.key); }

  open(id) { this.id = id; this.read(null); }

  read(changed) {
    if (!changed || changed.has(this.key)) this.draw();
    tick(this.element, this.live.now());
  }

  second() { tick(this.element, this.live.now()); }

  draw() {
    const {agent, live, key} = this;
    put(this.title, agent ? agent.display_name ?? NONE : live.whole ? t('gone.here') : NONE);
    if (!agent) return;
    const teams = (agent.group_ids ?? []).map((id) => live.get(`group:${id}`)?.name).filter(Boolean);
    put(this.under, [agent.extension, ...teams, agent.logged_on_remotely && t('agent.remote')].filter(Boolean).join(' · '));
    this.drawState(agent, key);
    const several = (agent.handling ?? []).length > 1 ? agent.handling : [];
    fill(this.contacts, several, () => several.map((contact) => h('li', {}, stateIcon(contact.state === 'post_processing' ? 'post' : contact.state === 'ringing' ? 'ringing' : 'contact'),
      h('span', {}, [t(`handling.${contact.state}`), this.about(contact)].join(' · ')), timer(contact.since_ms))));
    this.drawActs(agent);
    this.drawSkills(agent);
    fill(this.facts, [agent.handled_today, agent.talk_s_today, agent.day_start_ms, agent.queue_ids, agent.app_present], () => [
      fact(t('agent.handled'), num(agent.handled_today)), fact(t('agent.talk'), agent.talk_s_today == null ? NONE : span(agent.talk_s_today * 1000)),
      fact(t('agent.since'), clock(agent.day_start_ms)), fact(t('agent.queues'), (agent.queue_ids ?? []).map((id) => live.get(`queue:${id}`)?.name).filter(Boolean).join(', ') || NONE)]);
  }

  /** Which queue and medium a contact came by. */
  about(contact) {
    const queue = contact.direct ? t('direct') : this.live.get(`queue:${contact.queue_id}`)?.name;
    return [queue, tOr(`media.${contact.media}`, contact.media)].filter(Boolean).join(' · ');
  }

  drawState(agent, key) {
    const {live} = this;
    const state = stateOf(agent);
    const contact = contactOf(agent);
    const reason = live.reason(agent.reason_id);
    const routing = state.name !== agent.routing_state && agent.routing_state ? withReason(t(`state.${agent.routing_state}`), reason) : null;
    const asked = live.asked(key);
    const pending = pendingText(live, key, agent);
    fill(this.state, [state, reason, routing, contact, pending, agent.pending_by, asked?.what, agent.app_absent_since_ms, agent.post_processing], () => [
      h('p', {class: 'now', 'data-state': state.name}, stateIcon(state.name), h('strong', {}, routing ? state.text : withReason(state.text, reason)), timer(state.since)),
      routing && h('p', {class: 'muted'}, [contact && this.about(contact), t('agent.routing', routing)].filter(Boolean).join(' · ')),
      agent.post_processing?.ends_at_ms && h('p', {}, t('post.left'), ' ', h('time', {'data-until': agent.post_processing.ends_at_ms})),
      pending && h('p', {class: 'chip next'}, icon('next'), `${pending} · ${t('after.contact')}${agent.pending_by ? ` (${tOr(`by.${agent.pending_by}`, agent.pending_by)})` : ''}`),
      asked && h('p', {class: 'chip next', 'data-asked': true}, icon('wait'), t('asked', asked.what)),
      agent.app_absent_since_ms && h('p', {class: 'chip warn'}, icon('down'), t('absent.long'), ' ', timer(agent.app_absent_since_ms))]);
  }

  drawActs(agent) {
    const {live, key} = this;
    const offered = STATES.filter((state) => allowed(live, agent, 'agent.routing_state.set', state));
    const busy = live.asked(key) !== null;
    const canWrite = live.may('agent.routing_state.set', 'routing_state_write');
    fill(this.acts, [offered, busy, agent.display_name, live.frozen], () => [
      ...offered.map((state) => {
        const reasons = live.reasons(state);
        const ask = button([stateIcon(state), t(`set.${state}`)], () => this.ask(state), '', {disabled: busy});
        if (!reasons.length || live.needsReason(state)) return ask;
        return h('span', {class: 'split'}, ask, h('button', {type: 'button', class: 'button', disabled: busy, 'aria-label': t('reason.for', t(`state.${state}`)), onclick: () => this.withReason(state)}, '…'));
      }), !offered.length && canWrite ? h('p', {class: 'muted'}, t(live.frozen ? 'acts.frozen' : 'acts.none')) : null]);
    const last = live.last(key);
    put(this.last, last ? `${t('agent.last')}: ${last.what} · ${outcomeText(last)}` : '');
  }

  ask(state, reason) {
    return askState(this.live, {command: 'agent.routing_state.set', args: {agent_id: this.id}, key: this.key, state, reason, who: this.agent.display_name});
  }

  async withReason(state) {
    const reason = await pickReason(this.live, state);
    if (reason !== undefined) this.ask(state, reason);
  }

  // ---- skills ----

  drawSkills(agent) {
    const {live} = this;
    fill(this.skills, [agent.skills, live.catalogue('skills').length], () => {
      const known = (agent.skills ?? []).map((skill) => [live.skill(skill.skill_id), skill]).sort((a, b) => byName(a[0], b[0]));
      return known.length ? known.map(([name, skill]) => h('li', {'data-active': String(skill.active !== false)}, h('span', {}, name), meter(skill.level), h('b', {}, num(skill.level)),
        h('small', {class: 'muted'}, skill.active === false ? t('skill.inactive') : t('skill.preference', num(skill.preference))))) : h('li', {class: 'muted'}, t('skills.none'));
    });
    shown(this.edit, live.may('agent.skills.set', 'skills_write'));
    this.edit.disabled = live.frozen;
  }

  change() {
    const {live, key, id} = this;
    const held = () => new Map((live.get(key)?.skills ?? []).map(({skill_id: skill, level = null, preference = null, active = true}) => [skill, {level, preference, active}]));
    const what = t('skills.of', live.get(key)?.display_name ?? id);
    const item = (skill, value, before) => ({id: skill, label: live.skill(skill), before, control: this.control(skill, value)});
    const there = new Set(held().keys());
    edit(live, {
      key, title: what, what, kind: 'agent.skills.set',
      items: () => [...held()].sort(([a], [b]) => byName(live.skill(a), live.skill(b))).map(([skill, value]) => item(skill, value, value)),
      extra: (add) => {
        const others = () => live.catalogue('skills').filter(({skill_id: skill}) => !there.has(skill)).sort((a, b) => byName(a.name, b.name));
        const select = h('select', {'aria-label': t('skill.add'), onchange: () => {
          const chosen = others().find(({skill_id: skill}) => skill === select.value);
          there.add(chosen.skill_id);
          add(item(chosen.skill_id, {level: chosen.level_max ?? 100, preference: chosen.preference_min ?? null, active: true}, undefined));
          draw();
        }});
        const draw = () => select.replaceChildren(h('option', {value: ''}, `+ ${t('skill.add')}`), ...others().map(({skill_id: value, name}) => h('option', {value}, name)));
        draw();
        return select;
      },
      text: (value) => (value === null ? t('skill.removed') : `${num(value.level)}, ${t('skill.preference', num(value.preference))}${value.active === false ? `, ${t('skill.inactive')}` : ''}`),
      now: (skill) => held().get(skill),
      args: (changes) => ({agent_id: id, mode: 'patch', changes: [...changes].map(([skill, value]) => (value === null ? {skill_id: skill, level: null} : {skill_id: skill, ...value}))}),
    });
  }

  /** Level, preference, active, or gone. */
  control(skill, value) {
    const {level_min: min, level_max: max, preference_min: low, preference_max: high, name = skill} = this.live.catalogue('skills').find((each) => each.skill_id === skill) ?? {};
    const level = numberControl(`${name}: ${t('skill.level')}`, value.level, {min, max, step: 1});
    const preference = numberControl(`${name}: ${t('skill.preference.word')}`, value.preference, {min: low, max: high, step: 1});
    const active = h('input', {type: 'checkbox', checked: value.active !== false});
    const removed = h('input', {type: 'checkbox', onchange: () => { for (const input of [level.input, preference.input, active]) input.disabled = removed.checked; }});
    const part = (text, element) => h('label', {class: 'part-field'}, h('small', {}, text), element);
    return {
      element: h('span', {class: 'skill-edit'}, part(t('skill.level'), level.input), part(t('skill.preference.word'), preference.input),
        h('label', {class: 'check small'}, active, h('span', {}, t('skill.active'))), h('label', {class: 'check small'}, removed, h('span', {}, t('skill.remove')))),
      read: () => (removed.checked ? null : {level: level.read(), preference: preference.read() ?? null, active: active.checked}),
      valid: () => removed.checked || (level.valid() && (preference.input.value === '' || preference.valid())),
    };
  }
}

function meter(level) {
  const bar = h('i');
  bar.style.transform = `scaleX(${Math.max(0, Math.min(1, (level ?? 0) / 100))})`;
  return h('span', {class: 'meter', 'aria-hidden': 'true'}, bar);
}
