/** The list of agents with their states and times, and its filters by state, team and queue. */
import {ICONS, SHOWN, count, pendingText, stateIcon, stateOf, withReason} from './states.js';
import {several} from './bulk.js';
import {Rows, stepped} from './rows.js';
import {able, attribute, byName, fill, h, icon, NONE, put, reicon, shown, since, t, whole} from './ui.js';

/** A row of an agent, for every list of agents. */
export function agentRow(live, go, isSelected = () => false) {
  let key = '';
  let state = {name: 'unknown', since: null};
  const mark = icon('unknown', 'state');
  const name = h('span', {class: 'a-name', dir: 'auto'});
  const [what, time] = ['what', 'time'].map((part) => h('span', {class: `a-${part}`}));
  const next = h('span', {class: 'chip-text'});
  const then = h('span', {class: 'sr'}, `${t('then')} `);
  const chip = h('span', {class: 'chip next', hidden: true}, icon('next'), then, next);
  const absent = h('span', {class: 'chip warn', hidden: true}, icon('down'), h('span'));
  const act = h(
    'button',
    {type: 'button', class: 'agent', onclick: () => go({kind: 'agent', id: key.slice(6)})},
    mark,
    h('span', {class: 'a-main'}, name, h('span', {class: 'a-line'}, what, chip, absent)),
    time,
  );
  const tick = () => {
    const agent = live.get(key) ?? {};
    put(time, since(state.since, live.now()));
    shown(absent, Boolean(agent.app_absent_since_ms));
    if (agent.app_absent_since_ms)
      put(absent.lastChild, t('absent', since(agent.app_absent_since_ms, live.now())));
  };
  const show = (wanted) => {
    key = wanted;
    const agent = live.get(key) ?? {};
    state = stateOf(agent);
    const asked = live.asked(key);
    const pending = asked
      ? t('asked', asked.wants ? t(`state.${asked.wants}`) : asked.what)
      : pendingText(live, key, agent);
    attribute(act, 'data-state', state.name);
    attribute(act, 'aria-pressed', String(isSelected(key)));
    reicon(mark, ICONS[state.name] ?? 'unknown');
    put(name, agent.display_name ?? NONE);
    put(what, withReason(state.text, agent.handling?.length ? null : live.reason(agent.reason_id)));
    shown(chip, pending !== null);
    attribute(chip, 'data-asked', asked !== null);
    shown(then, asked === null);
    if (pending !== null) put(next, pending);
    tick();
  };
  return {element: h('div', {role: 'listitem'}, act), show, tick};
}

/** Whether a name has changed that many rows may show, such as a reason. @param {Set<string>} changed */
export const namesChanged = (changed) => [...changed].some((key) => key.startsWith('catalogue:'));

/** The order of agents: in contact longest first, then free longest, then the others. */
export function inOrder(entries) {
  const ranked = entries.map(([key, agent]) => {
    const {name, since: from} = stateOf(agent);
    return [key, SHOWN.indexOf(name), from ?? Infinity, agent.display_name ?? ''];
  });
  ranked.sort((a, b) => a[1] - b[1] || a[2] - b[2] || byName(a[3], b[3]));
  return ranked.map(([key]) => key);
}

export class Agents {
  constructor(live, go, shell) {
    const {state = '', within = ''} = shell.choices.filters ?? {};
    Object.assign(this, {live, go, shell, state, text: '', within});
    this.counts = null;
    this.search = h('input', {
      type: 'search',
      dir: 'auto',
      placeholder: t('agents.search'),
      'aria-label': t('agents.search'),
      oninput: () => {
        this.text = this.search.value.trim().toLowerCase();
        this.count();
        this.sort();
      },
    });
    this.where = h('select', {
      'aria-label': t('agents.where'),
      onchange: () => {
        this.within = this.where.value;
        this.keep();
        this.places();
        this.count();
        this.sort();
      },
    });
    this.team = h(
      'button',
      {
        type: 'button',
        class: 'button small',
        hidden: true,
        onclick: () => {
          const [kind, id] = this.within.split(':');
          go({kind, id});
        },
      },
      t('agents.open'),
    );
    this.many = h(
      'button',
      {type: 'button', class: 'button small desk', hidden: true, onclick: () => several(live, this.rows.keys)},
      t('bulk'),
    );
    this.chips = new Map(['', ...SHOWN].map((name) => [name, this.chip(name)]));
    this.total = h('span', {class: 'muted'}, NONE);
    const scroller = h('div', {class: 'scroll'});
    this.rows = new Rows(scroller, {
      height: 56,
      label: t('tab.agents'),
      make: () => agentRow(live, go, (key) => key === this.selected),
    });
    this.empty = h('p', {class: 'muted empty', hidden: true}, t('agents.none'));
    scroller.append(this.rows.element, this.empty);
    this.element = h(
      'section',
      {class: 'pane agents data', 'aria-label': t('tab.agents')},
      h('header', {class: 'pane-head'}, h('h2', {}, t('tab.agents')), this.total, this.team, this.where),
      h(
        'div',
        {class: 'filters'},
        h('div', {class: 'filter-line'}, this.search, this.many),
        h(
          'div',
          {
            class: 'chips',
            role: 'toolbar',
            'aria-label': t('agents.states'),
            onkeydown: (event) => this.arrow(event),
            onfocusin: () => this.rove(),
          },
          [...this.chips.values()].map(({element}) => element),
        ),
      ),
      scroller,
    );
  }

  chip(name) {
    const number = h('b');
    const element = h(
      'button',
      {
        type: 'button',
        class: 'chip',
        title: name ? t(`state.${name}`) : null,
        onclick: () => {
          this.state = this.state === name ? '' : name;
          this.keep();
          this.marks();
          this.sort();
        },
      },
      name ? stateIcon(name) : null,
      h('span', {}, name ? t(`state.${name}`) : t('agents.all')),
      number,
    );
    return {element, number};
  }

  /** The available filters. */
  get offered() {
    return [...this.chips.values()].map(({element}) => element).filter(({hidden}) => !hidden);
  }

  /** Tab reaches one filter: the one with the focus, or else the chosen one. Arrow keys reach the others. */
  rove() {
    const {offered} = this;
    const chosen = offered.find((each) => each.getAttribute('aria-pressed') === 'true');
    const at = offered.find((each) => each === document.activeElement) ?? chosen ?? offered[0];
    for (const each of offered) attribute(each, 'tabindex', each === at ? '0' : '-1');
  }

  arrow(event) {
    const {offered} = this;
    const key = {ArrowRight: 'ArrowDown', ArrowLeft: 'ArrowUp'}[event.key] ?? event.key;
    const to = stepped(key, offered.indexOf(event.target), offered.length);
    if (to === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    offered[to].focus();
  }

  /** Store the filters for a reload: ids and names of states. The search text may be a person's name: it is not stored. */
  keep() {
    const {state, within} = this;
    this.shell.choose({filters: {state, within}});
  }

  marks() {
    for (const [name, {element}] of this.chips)
      attribute(element, 'aria-pressed', String(name === this.state));
    this.rove();
  }

  select(id) {
    this.selected = id && `agent:${id}`;
    this.rows.refreshAll();
  }

  read(changed) {
    if (!changed) {
      this.places();
      this.marks();
      this.count();
      this.sort();
      this.rows.refreshAll();
      return;
    }
    if (namesChanged(changed)) this.rows.refreshAll();
    else this.rows.refresh(changed);
  }

  second() {
    this.count();
    this.sort();
    this.rows.tick();
  }

  /** The agents of the chosen team or queue. */
  inside() {
    const [kind, id] = this.within.split(':');
    const all = this.live.of('agent');
    const has = {
      '': () => true,
      group: (agent) => (agent.group_ids ?? []).includes(id),
      queue: (agent) => (agent.queue_ids ?? []).includes(id),
      skill: (agent) => (agent.skills ?? []).some((each) => each.skill_id === id && each.active !== false),
    }[kind];
    return all.filter(([, agent]) => has(agent));
  }

  /** Those of them whom the search finds. */
  entries() {
    const {text} = this;
    const inside = this.inside();
    return text
      ? inside.filter(
          ([, agent]) =>
            (agent.display_name ?? '').toLowerCase().includes(text) || (agent.extension ?? '').startsWith(text),
        )
      : inside;
  }

  count() {
    const known = this.live.knows('agents');
    const found = this.entries().map(([, agent]) => agent);
    const counts = count(found);
    if (!known) this.counts = null;
    else this.counts = this.within || this.text ? count(this.live.of('agent').map(([, agent]) => agent)) : counts;
    for (const [name, {element, number}] of this.chips) {
      put(number, known ? whole(name ? counts[name] : found.length) : NONE);
      shown(element, !name || counts[name] > 0 || name === this.state);
    }
    this.rove();
  }

  sort() {
    const {state} = this;
    const found = this.entries().filter(([, agent]) => !state || stateOf(agent).name === state);
    this.rows.order(inOrder(found));
    const known = this.live.knows('agents');
    put(this.total, known ? t('agents.n', whole(found.length)) : NONE);
    shown(this.empty, found.length === 0 && known);
    shown(this.many, this.live.may('agent.routing_state.set', 'routing_state_write'));
    able(this.many, known && !this.live.frozen);
  }

  /** The teams, queues and skills to choose from, pinned ones first. */
  places() {
    const {pins} = this.shell.choices;
    const named = (kind) =>
      this.live
        .of(kind)
        .map(([key, {name}]) => [key, name ?? NONE])
        .sort((a, b) => pins.includes(b[0]) - pins.includes(a[0]) || byName(a[1], b[1]));
    const [groups, queues] = [named('group'), named('queue')];
    const skills = this.live
      .catalogue('skills')
      .map(({skill_id: id, name}) => [`skill:${id}`, name])
      .sort((a, b) => byName(a[1], b[1]));
    const options = (list) => list.map(([value, name]) => h('option', {value}, name));
    fill(this.where, [groups, queues, skills], () => [
      h('option', {value: ''}, t('agents.everywhere')),
      h('optgroup', {label: t('groups')}, options(groups)),
      h('optgroup', {label: t('tab.queues')}, options(queues)),
      h('optgroup', {label: t('skills')}, options(skills)),
    ]);
    // a filter for a team or queue that no longer exists is dropped
    const there = ['', ...[groups, queues, skills].flat().map(([value]) => value)];
    if (this.live.whole && !there.includes(this.within)) this.within = '';
    this.where.value = this.within;
    shown(this.team, this.within !== '' && !this.within.startsWith('skill:'));
  }
}
