/** The page of one queue or team: figures, agents, routing parameters. */
import {agentRow, inOrder, namesChanged} from './agents.js';
import {setAll} from './bulk.js';
import {choiceControl, edit, fits, numberControl, switchControl, textControl} from './edit.js';
import {FIGURES} from './figures.js';
import {NAMES} from './levels.js';
import {sparkline, why} from './queues.js';
import {allowed, askState, count, ICONS, stateIcon, stateOf, tick, timer, withReason} from './states.js';
import {Rows} from './rows.js';
import {
  able,
  attribute,
  button,
  byName,
  fill,
  h,
  icon,
  language,
  left,
  NONE,
  num,
  pct,
  put,
  shown,
  parameterName,
  span,
  t,
  tOr,
  whole,
} from './ui.js';

const OF_QUEUE = [
  ['available', 'agents_available'],
  ['contact', 'agents_handling'],
  ['post', 'agents_post_processing'],
  ['unavailable', 'agents_unavailable'],
  ['work', 'agents_work'],
];

const SET = 'agent.routing_state.set';
const ASKED = ['unavailable', 'work'];
const LIMIT_S = {min: 5, max: 3600, step: 1};
const HELP = ['available', 'post', 'unavailable', 'work'];
const HELPERS_SHOWN = 6;

/** An agent's level in each of these skills, in their order; null: the agent lacks the skill, or it is inactive. */
const levels = (agent, skills) =>
  skills.map((id) => {
    const held = (agent.skills ?? []).find(({skill_id: skill}) => skill === id);
    return held && held.active !== false ? (held.level ?? null) : null;
  });

/** The agents who could help: ordered by state, then by their level in the queue's skills, then by time. */
const helpers = (agents, skills) =>
  agents
    .map((entry) => [entry, stateOf(entry[1]), Math.min(...levels(entry[1], skills).map((level) => level ?? 0), 1e9)])
    .filter(([, {name}]) => HELP.includes(name))
    .sort(
      ([, a, one], [, b, other]) =>
        HELP.indexOf(a.name) - HELP.indexOf(b.name) || other - one || (a.since ?? 0) - (b.since ?? 0),
    )
    .slice(0, HELPERS_SHOWN)
    .map(([entry]) => entry);

/** The page of a queue or a group. */
export class Place {
  /**
   * @param {'queue'|'group'} kind @param {import('./queues.js').Queues} queues how queues stand
   * @param {() => void} pinned called when something was pinned, or no longer is
   */
  constructor(live, kind, queues, go, shell, pinned) {
    Object.assign(this, {live, kind, queues, go, shell, pinned, id: null, wish: null, only: ''});
    this.title = h('h2', {tabindex: '-1'});
    this.level = h('span', {class: 'chip level', hidden: true});
    this.why = h('p', {class: 'why'});
    this.pin = h(
      'button',
      {type: 'button', class: 'quiet square pin-button', onclick: () => this.turnPin()},
      icon('pin'),
    );
    this.help = h('ul', {class: 'helpers'});
    this.helpAll = h('div', {class: 'help-all'});
    this.helpPart = h('section', {class: 'help', hidden: true}, h('h3', {}, t('help')), this.help, this.helpAll);
    this.limit = h('input', {
      type: 'number',
      id: 'own-limit',
      ...LIMIT_S,
      inputmode: 'numeric',
      onchange: () => this.setLimit(),
    });
    this.limitPart = h(
      'div',
      {class: 'setting'},
      h('label', {for: 'own-limit'}, t('limit.own'), h('small', {class: 'muted'}, t('limit.own.hint'))),
      h('span', {class: 'with-unit'}, this.limit, 's'),
    );
    this.figures = h('dl', {class: 'figures'});
    this.states = h('ul', {class: 'states'});
    this.spark = sparkline();
    this.seen = h('figcaption', {class: 'muted'});
    this.more = h('dl', {class: 'facts'});
    this.parameters = h('dl', {class: 'facts'});
    this.edit = button(t('parameters.edit'), () => this.change(), 'small');
    this.people = h('h3');
    this.element = h(
      'article',
      {class: 'page'},
      h('header', {class: 'page-head'}, this.title, this.level, this.pin),
      kind === 'queue' ? this.why : null,
      kind === 'queue' ? this.helpPart : null,
      this.figures,
      kind === 'queue'
        ? h('figure', {class: 'spark-big'}, this.spark.svg, this.seen)
        : null,
      this.states,
      this.more,
      kind === 'queue' ? this.limitPart : null,
      h(
        'details',
        {class: 'part'},
        h('summary', {}, h('h3', {}, t('parameters'))),
        this.parameters,
        this.edit,
      ),
      this.people,
    );
  }

  get key() {
    return `${this.kind}:${this.id}`;
  }

  /** Pin or unpin. Pinned places come first; only their ids are stored. */
  turnPin() {
    const {pins} = this.shell.choices;
    const {key} = this;
    this.shell.choose({pins: pins.includes(key) ? pins.filter((each) => each !== key) : [...pins, key]});
    this.drawPin();
    this.pinned();
  }

  drawPin() {
    const on = this.shell.choices.pins.includes(this.key);
    attribute(this.pin, 'aria-pressed', String(on));
    attribute(this.pin, 'aria-label', t(on ? 'pin.off' : 'pin.on'));
  }

  /** The person's own limit of the wait in this queue; empty: that of the service level. */
  setLimit() {
    if (!fits(this.limit, {...LIMIT_S, unit: 's'})) return;
    const limits = {...this.shell.choices.limits};
    if (this.limit.value) limits[this.id] = Number(this.limit.value);
    else delete limits[this.id];
    this.shell.choose({limits});
    this.queues.second();
    this.drawLevel();
  }

  open(id) {
    this.id = id;
    this.only = '';
    this.limit.value = this.shell.choices.limits[id] ?? '';
    this.drawPin();
    this.close();
    this.read(null);
    requestAnimationFrame(() => this.list());
  }

  close() {
    this.rows?.end();
    this.rows = null;
  }

  /** Make the list when the page is shown: it needs the pane that scrolls it. */
  list() {
    const scroller = this.element.closest('.pane');
    if (!scroller || this.rows) return;
    this.rows = new Rows(scroller, {
      height: 56,
      label: t('agents.of'),
      make: () => agentRow(this.live, this.go),
    });
    this.element.append(this.rows.element);
    this.second();
    this.rows.focus(this.wish);
    this.wish = null;
  }

  /** Focus the row of an agent once it is there. */
  returnTo(key) {
    this.wish = key;
  }

  agents() {
    const field = this.kind === 'queue' ? 'queue_ids' : 'group_ids';
    return this.live.of('agent').filter(([, agent]) => (agent[field] ?? []).includes(this.id));
  }

  read(changed) {
    this.draw();
    if (!changed) this.second();
    else if (namesChanged(changed)) this.rows?.refreshAll();
    else this.rows?.refresh(changed);
  }

  second() {
    tick(this.element, this.live.now());
    const agents = this.agents();
    const known = this.live.knows('agents');
    put(this.people, t('agents.of.n', known ? whole(agents.length) : NONE));
    const {only} = this;
    this.rows?.order(inOrder(only ? agents.filter(([, agent]) => stateOf(agent).name === only) : agents));
    if (this.kind === 'queue') this.drawHelp(agents);
    this.rows?.tick();
    if (this.kind === 'group') this.drawStates(known ? count(agents.map(([, agent]) => agent)) : {});
    this.drawLevel();
  }

  draw() {
    const value = this.live.get(this.key);
    put(this.title, value ? (value.name ?? NONE) : this.live.whole ? t('gone.here') : NONE);
    // help and its reason are shown only where a queue needs somebody: see drawHelp and drawLevel
    for (const part of [...this.element.children].slice(1))
      shown(part, Boolean(value) && (![this.helpPart, this.why].includes(part) || !part.hidden));
    if (!value) return;
    if (this.kind === 'queue') this.drawQueue(value);
    else this.drawGroup(value);
    const entries = Object.entries(value.routing_parameters ?? {}).map(([name, each]) => [
      parameterName(name),
      this.text(each, name),
    ]);
    fill(this.parameters, entries, () => entries.map((each) => fact(...each)));
    shown(
      this.edit,
      this.live.may(`${this.kind}.routing_parameters.set`, 'routing_parameters_write') && entries.length > 0,
    );
    able(this.edit, !this.live.frozen);
    tick(this.element, this.live.now());
  }

  drawLevel() {
    const judged = this.kind === 'queue' ? this.queues.judged.get(this.key) : null;
    const name = judged ? NAMES[judged.level] : null;
    shown(this.level, judged?.level > 0);
    fill(this.level, name, () => [icon(name ?? 'ok'), t(`level.${name}`)]);
    attribute(this.level, 'data-level', name);
    const queue = this.live.get(this.key);
    put(this.why, queue && judged ? why(queue, judged, this.live.now()) : '');
    shown(this.why, this.why.textContent !== '');
    const {history} = this.queues;
    put(this.seen, t('spark', history.minutes(this.key)));
    this.spark.set(history.path(this.key, this.live.get(this.key)?.contacts_waiting));
  }

  drawQueue(queue) {
    const due = queue.service_level_threshold_s;
    fill(
      this.figures,
      [queue.contacts_waiting, queue.oldest_since_ms, queue.service_level_pct, due, queue.estimated_wait_s],
      () => [
        big(t('q.waiting'), whole(queue.contacts_waiting)),
        big(t('q.longest'), timer(queue.oldest_since_ms)),
        big(due == null ? t('q.share') : t('q.share.in', due), pct(queue.service_level_pct)),
        big(t('q.estimated'), seconds(queue.estimated_wait_s)),
      ],
    );
    this.drawStates(Object.fromEntries(OF_QUEUE.map(([name, field]) => [name, queue[field]])));
    const rate = queue.abandoned_rate_pct;
    fill(this.more, [figures('queue', queue), rate, queue.media], () => [
      fact(t('media'), tOr(`media.${queue.media}`, queue.media ?? NONE)),
      ...facts('queue', queue, {abandoned: ` · ${pct(rate)}`}),
    ]);
  }

  drawGroup(group) {
    fill(
      this.figures,
      [group.users_logged_on, group.users_idle, group.users_busy, group.users_away, group.calls_waiting],
      () => [
        big(t('g.on'), whole(group.users_logged_on)),
        big(t('g.idle'), whole(group.users_idle)),
        big(t('g.busy'), whole(group.users_busy)),
        big(t('g.away'), whole(group.users_away)),
      ],
    );
    fill(this.more, figures('group', group), () => facts('group', group));
  }

  /** The number of agents in each state; a tap lists only these. */
  drawStates(counts) {
    fill(this.states, [counts, this.only], () =>
      OF_QUEUE.map(([name]) =>
        h(
          'li',
          {},
          h(
            'button',
            {
              type: 'button',
              class: 'state-count',
              'aria-pressed': String(this.only === name),
              onclick: () => {
                this.only = this.only === name ? '' : name;
                this.draw();
                this.second();
              },
            },
            stateIcon(name),
            h('b', {}, whole(counts[name])),
            h('span', {}, t(`state.${name}`)),
          ),
        ),
      ),
    );
  }

  /** The agents who could take contacts of a queue: free ones, those who are soon free, then possible ones. */
  drawHelp(agents) {
    const {live} = this;
    const needed = (this.queues.judged.get(this.key)?.level ?? 0) > 0;
    const skills = live.get(this.key)?.skill_ids ?? [];
    const found = needed ? helpers(agents, skills) : [];
    shown(this.helpPart, needed && live.knows('agents'));
    const rows = found.map(([key, agent]) => ({
      key,
      name: agent.display_name ?? NONE,
      state: stateOf(agent),
      reason: live.reason(agent.reason_id),
      levels: levels(agent, skills).map((level, place) => t('help.level', live.skill(skills[place]), whole(level))),
      until: agent.post_processing?.ends_at_ms ?? null,
      may: ASKED.includes(agent.routing_state) && !agent.handling?.length && allowed(live, agent, SET, 'available'),
      asked: live.asked(key)?.what ?? null,
    }));
    fill(this.help, rows, () =>
      rows.length ? rows.map((row) => this.helper(row)) : h('li', {class: 'muted'}, t('help.none')),
    );
    const settable = rows.filter(({may, asked}) => may && !asked).map(({key}) => key);
    fill(this.helpAll, settable, () =>
      settable.length > 1
        ? button(
            t('bulk.apply', settable.length, t('state.available')),
            () => setAll(live, settable, 'available'),
            'small',
          )
        : null,
    );
    tick(this.help, live.now());
  }

  helper({key, name, state, reason, levels: held, until, may, asked}) {
    const id = key.slice(6);
    return h(
      'li',
      {},
      h(
        'button',
        {type: 'button', class: 'agent', 'data-state': state.name, onclick: () => this.go({kind: 'agent', id})},
        icon(ICONS[state.name] ?? 'unknown', 'state'),
        h(
          'span',
          {class: 'a-main'},
          h('span', {class: 'a-name'}, name),
          h(
            'span',
            {class: 'a-line'},
            asked ? t('asked', asked) : [withReason(state.text, reason), ...held].join('\u00a0· '),
          ),
        ),
        until
          ? h('span', {class: 'a-time'}, left(until))
          : timer(state.since, 'a-time'),
      ),
      may && !asked
        ? button(t('set.available'), () =>
            askState(this.live, {command: SET, args: {agent_id: id}, key, state: 'available', who: name}),
          'small', {'aria-label': t('help.set', name)})
        : null,
    );
  }

  // ---- routing parameters ----

  get catalogue() {
    return this.live.get('catalogue:routing_parameters')?.parameters ?? [];
  }

  /** A value as text. */
  text(value, name) {
    const known = this.catalogue.find((each) => each.name === name);
    if (value === null || value === undefined || value === '')
      return known?.data_type === 'queue_reference' ? t('none') : NONE;
    if (typeof value === 'boolean') return t(value ? 'yes' : 'no');
    if (known?.data_type === 'queue_reference')
      return this.live.get(`queue:${value}`)?.name ?? t('out.of.sight');
    if (typeof value === 'number') return `${num(value)}${known?.unit ? ` ${known.unit}` : ''}`;
    return known?.data_type === 'enum' ? parameterName(String(value)) : String(value);
  }

  change() {
    const {live, key, kind, id} = this;
    const values = () => live.get(key)?.routing_parameters ?? {};
    const changeable = this.catalogue.filter(
      (each) => each.applies_to === kind && !each.read_only && each.name in values(),
    );
    const name = live.get(key)?.name ?? id;
    edit(live, {
      key,
      title: t('parameters.of', name),
      what: t('parameters.of', name),
      kind: `${kind}.routing_parameters.set`,
      items: () =>
        changeable.map((each) => ({
          id: each.name,
          label: parameterName(each.name),
          help: tOr(`parameter.help.${each.name}`, ''),
          before: values()[each.name],
          control: this.control(each, values()[each.name]),
        })),
      text: (value, parameter) => this.text(value, parameter),
      now: (parameter) => values()[parameter],
      of: ({parameter}) => parameter,
      args: (changes) => ({[`${kind}_id`]: id, changes: Object.fromEntries(changes)}),
    });
  }

  control(parameter, value) {
    const label = parameterName(parameter.name);
    switch (parameter.data_type) {
      case 'integer':
      case 'number':
        return numberControl(label, value, parameter);
      case 'boolean':
        return switchControl(label, value);
      case 'enum':
        return choiceControl(
          label,
          value,
          this.offered(parameter, value).map((each) => [each, this.text(each, parameter.name)]),
        );
      case 'queue_reference':
        return choiceControl(label, value, this.references(value));
      default:
        return textControl(label, value);
    }
  }

  /** The values to choose from; the present one is among them. */
  offered({values}, value) {
    const known = values ?? [];
    return known.includes(value) ? known : [value, ...known];
  }

  references(value) {
    const all = this.live
      .of('queue')
      .map(([key, {name}]) => [key.slice(6), name ?? NONE])
      .filter(([id]) => id !== this.id)
      .sort((a, b) => byName(a[1], b[1]));
    const hidden =
      value != null && !all.some(([id]) => id === String(value)) ? [[value, t('out.of.sight')]] : [];
    return [[null, t('none')], ...hidden, ...all];
  }
}

const seconds = (value) => (value === null || value === undefined ? NONE : span(value * 1000));
export const big = (label, value) => h('div', {class: 'big'}, h('dt', {}, label), h('dd', {}, value));
export const fact = (label, value) => h('div', {}, h('dt', {}, label), h('dd', {}, value));
const written = {integer: whole, number: num, percent: pct, seconds, instant: timer};
const figures = (kind, value) => FIGURES[kind].map(([field]) => value[field]);
/** The figures that the gateway declares with words. @param {Record<string, string>} beside more of a figure */
const facts = (kind, value, beside = {}) =>
  FIGURES[kind].map(([field, unit, words]) =>
    fact(words[language], [written[unit](value[field]), beside[field]].filter(Boolean)),
  );
