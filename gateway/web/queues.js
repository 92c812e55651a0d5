/** The queues as tiles, a table or a wallboard, the worst first. */
import {ACTION, History, Levels, NAMES, worstFirst} from './levels.js';
import {QueueTable} from './table.js';
import {Rows} from './rows.js';
import {isNarrow} from './shell.js';
import {attribute, byName, fill, h, icon, NONE, pct, put, reicon, shown, since, span, t, tOr, whole} from './ui.js';

const STATES = [
  ['available', 'available'],
  ['handling', 'contact'],
  ['post_processing', 'post'],
  ['unavailable', 'unavailable'],
  ['work', 'work'],
];
const SVG = 'http://www.w3.org/2000/svg';

/** The line of a queue's last half hour, as far as it has samples; `set` draws it again. */
export function sparkline() {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 60 20');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('class', 'spark');
  svg.setAttribute('aria-hidden', 'true');
  const [ground, path] = [0, 1].map(() => document.createElementNS(SVG, 'path'));
  ground.setAttribute('d', 'M0 19.5H60');
  svg.append(ground, path);
  return {svg, set: (d) => attribute(path, 'd', d)};
}

/** The height of a tile; work.css has the cases with fewer or more lines. */
const ON_ITS_SIDE = '(max-height: 480px) and (orientation: landscape)';
const WALL_HEIGHT = 210;
const WALL_WIDTH = 460;
const WIDTH = 300;
const heightOf = () =>
  document.documentElement.hasAttribute('data-large') ? 176 : matchMedia(ON_ITS_SIDE).matches ? 96 : 124;

/** Why a queue has its level: the figure with its limit, and who is free. @returns {string[]} */
function causes(queue, judged, now) {
  if (!judged?.cause) return [];
  const {cause, bound} = judged;
  const waited = since(queue.oldest_since_ms, now);
  const figure = {
    wait: () => t('why.wait', waited, bound === null ? NONE : span(bound * 1000)),
    waiting: () => (bound === null ? t('why.waiting.plain', whole(queue.contacts_waiting))
      : t('why.waiting', whole(queue.contacts_waiting), whole(bound))),
    share: () => t('why.share', pct(queue.service_level_pct), pct(bound)),
  }[cause]();
  return [figure, t('why.free', whole(queue.agents_available))];
}

/** Why a queue has its level, in one line. */
export const why = (queue, judged, now) => causes(queue, judged, now).join(' · ');

export class Queues {
  constructor(live, shell, go, wall = () => {}) {
    Object.assign(this, {live, shell, go, text: '', onWall: false});
    this.levels = new Levels();
    this.history = new History();
    this.judged = new Map();
    this.aggregate = shell.choices.aggregate ?? '';
    this.search = h('input', {
      type: 'search',
      dir: 'auto',
      placeholder: t('queues.search'),
      'aria-label': t('queues.search'),
      oninput: () => {
        this.text = this.search.value.trim().toLowerCase();
        this.sort();
      },
    });
    this.choice = h('select', {
      'aria-label': t('queues.which'),
      onchange: () => {
        this.aggregate = this.choice.value;
        shell.choose({aggregate: this.aggregate});
        this.sort();
      },
    });
    this.total = h('span', {class: 'muted'}, NONE);
    const scroller = h('div', {class: 'scroll'});
    this.rows = new Rows(scroller, {
      height: () => (this.onWall ? WALL_HEIGHT : heightOf()),
      width: () => (this.onWall ? WALL_WIDTH : WIDTH),
      gap: 8,
      label: t('tab.queues'),
      make: () => this.tile(),
    });
    this.empty = h('p', {class: 'muted empty', hidden: true}, t('queues.none'));
    this.table = new QueueTable(live, this, shell, go);
    scroller.append(this.rows.element, this.table.element, this.empty);
    this.look = h(
      'button',
      {type: 'button', class: 'quiet square desk', onclick: () => this.turnTable()},
      icon('table'),
    );
    this.wall = h(
      'button',
      {type: 'button', class: 'quiet square desk', onclick: wall},
      icon('wall'),
    );
    this.element = h(
      'section',
      {class: 'pane queues data', 'aria-label': t('tab.queues')},
      h(
        'header',
        {class: 'pane-head'},
        h('h2', {tabindex: '-1'}, t('tab.queues')),
        this.total,
        h('div', {class: 'pane-tools'}, this.search, this.choice),
        this.look,
        this.wall,
      ),
      scroller,
    );
    this.looks();
  }

  /** Whether queues are lines of a table: by choice, and on a desk only. */
  get isTable() {
    return this.shell.choices.table === true && !this.onWall && !isNarrow();
  }

  turnTable() {
    this.shell.choose({table: this.shell.choices.table !== true});
    this.looks();
    this.sort();
  }

  /** Show the wallboard, or leave it. @param {boolean} on */
  setWall(on) {
    this.onWall = on;
    this.text = this.search.value = '';
    this.looks();
    this.rows.draw();
    this.sort();
  }

  looks() {
    const table = this.isTable;
    attribute(this.element, 'data-look', table ? 'table' : null);
    shown(this.rows.element, !table);
    shown(this.table.element, table);
    attribute(this.look, 'aria-pressed', String(this.shell.choices.table === true));
    attribute(this.look, 'aria-label', t('look.table'));
    attribute(this.look, 'title', t('look.table'));
    const name = t(this.onWall ? 'wall.leave' : 'wall');
    attribute(this.wall, 'aria-label', name);
    attribute(this.wall, 'title', name);
    reicon(this.wall.firstChild, this.onWall ? 'close' : 'wall');
    this.shell.onLooks?.(table);
  }

  /** The list that is shown: tiles or a table. */
  get list() {
    return this.isTable ? this.table : this.rows;
  }

  select(id) {
    this.selected = id && `queue:${id}`;
    this.rows.refreshAll();
    this.table.refreshAll();
  }

  /** The worst levels of all queues, by number of waiting contacts and by wait. */
  worst() {
    const worst = {waiting: 0, wait: 0};
    for (const {level, wait, cause} of this.judged.values()) {
      if (cause === 'waiting') worst.waiting = Math.max(worst.waiting, level);
      worst.wait = Math.max(worst.wait, wait);
    }
    return worst;
  }

  read(changed) {
    if (!changed) {
      this.choices();
      this.sort();
      this.rows.refreshAll();
      return;
    }
    for (const key of changed) if (key.startsWith('queue:')) this.judge(key);
    this.rows.refresh(changed);
    this.table.refresh(changed);
  }

  judge(key) {
    const queue = this.live.get(key);
    if (queue) {
      const {target, limits} = this.shell.choices;
      const before = this.judged.get(key);
      const judged = this.levels.judge(key, queue, this.live.now(), target, limits?.[key.slice(6)]);
      this.judged.set(key, judged);
      if (before && judged.level > before.level && !this.live.frozen) this.rose(key, queue, judged);
    } else {
      this.judged.delete(key);
      this.levels.forget(key);
    }
  }

  /** A queue has got worse. */
  rose(key, queue, judged) {
    const text = t('alert.queue', queue.name ?? NONE, t(`level.${NAMES[judged.level]}`));
    const line = why(queue, judged, this.live.now());
    this.shell.alerts.queue(judged.level === ACTION, `${text}, ${line}`);
  }

  /** The number of queues that need somebody at once. */
  critical() {
    return [...this.judged.values()].filter(({level}) => level === ACTION).length;
  }

  second() {
    for (const [key] of this.live.of('queue')) this.judge(key);
    for (const key of this.judged.keys()) if (!this.live.get(key)) this.judge(key);
    if (!this.live.frozen && this.history.take(this.live.of('queue'), this.live.now()))
      this.rows.refreshAll();
    this.sort();
    this.rows.tick();
    this.table.tick();
  }

  choices() {
    const aggregates = this.live
      .of('aggregate')
      .filter(([, {name}]) => name)
      .sort(([, a], [, b]) => byName(a.name, b.name));
    fill(
      this.choice,
      aggregates.map(([key, {name}]) => [key, name]),
      () => [
        h('option', {value: ''}, t('queues.all')),
        aggregates.map(([key, {name}]) => h('option', {value: key}, name)),
      ],
    );
    this.choice.value = this.aggregate;
    shown(this.choice, aggregates.length > 0);
  }

  sort() {
    const {live, aggregate} = this;
    const only = aggregate && new Set(live.get(aggregate)?.queue_ids ?? []);
    const {text} = this;
    const entries = live
      .of('queue')
      .filter(([key]) => !only || only.has(key.slice(6)))
      .filter(([, {name}]) => !text || (name ?? '').toLowerCase().includes(text));
    const keys = worstFirst(entries, this.judged, this.shell.choices.pins, byName);
    if (this.isTable) this.table.order(keys);
    else this.rows.order(keys);
    shown(this.empty, entries.length === 0 && live.whole);
    const bad = entries.filter(([key]) => this.judged.get(key)?.level === ACTION).length;
    const all = live.whole ? whole(entries.length) : NONE;
    put(this.total, bad ? t('queues.bad', bad, all) : t('queues.n', all));
  }

  tile() {
    const {live} = this;
    let key = '';
    const mark = icon('ok', 'mark');
    const parts = Object.fromEntries(
      ['name', 'media', 'waiting', 'longest', 'share', 'target'].map((name) => [
        name,
        h('span', {class: `q-${name}`, dir: name === 'name' && 'auto'}),
      ]),
    );
    const reason = h('span', {class: 'q-why'}, h('span'), h('span'));
    const pin = icon('pin', 'pin');
    const counts = STATES.map(([, name]) => h('span', {class: 'count'}, icon(name, `s-${name}`), h('span')));
    const spark = sparkline();
    const seen = h('small');
    const act = h(
      'button',
      {type: 'button', class: 'tile', onclick: () => this.go({kind: 'queue', id: key.slice(6)})},
      h('span', {class: 'tile-head'}, mark, parts.name, pin, parts.media),
      h(
        'span',
        {class: 'tile-figures'},
        h('span', {class: 'big'}, parts.waiting, h('small', {}, t('q.waiting'))),
        h('span', {class: 'big'}, parts.longest, h('small', {}, t('q.longest'))),
        h(
          'span',
          {class: 'big share'},
          parts.share,
          h('small', {}, parts.target),
        ),
        h('span', {class: 'trend'}, spark.svg, seen),
      ),
      h('span', {class: 'tile-foot'}, counts, reason),
    );
    const ticked = () => {
      const queue = live.get(key) ?? {};
      put(parts.longest, since(queue.oldest_since_ms, live.now()));
      const [figure = '', free = ''] = causes(queue, this.judged.get(key), live.now());
      put(reason.firstChild, figure);
      put(reason.lastChild, free && ` · ${free}`);
    };
    const show = (next) => {
      key = next;
      const queue = live.get(key) ?? {};
      const judged = this.judged.get(key) ?? {level: 0, cause: null};
      attribute(act, 'data-level', NAMES[judged.level]);
      attribute(act, 'aria-pressed', String(key === this.selected));
      reicon(mark, NAMES[judged.level]);
      attribute(act, 'data-cause', judged.cause);
      for (const each of counts) shown(each, judged.cause === null);
      shown(reason, judged.cause !== null);
      pin.toggleAttribute('hidden', !this.shell.choices.pins.includes(key));
      put(parts.name, queue.name ?? NONE);
      put(parts.media, tOr(`media.${queue.media}`, queue.media ?? ''));
      put(parts.waiting, whole(queue.contacts_waiting));
      put(parts.share, pct(queue.service_level_pct));
      put(
        parts.target,
        queue.service_level_threshold_s == null
          ? t('q.share')
          : t('q.share.in', queue.service_level_threshold_s),
      );
      STATES.forEach(([field], place) => put(counts[place].lastChild, whole(queue[`agents_${field}`])));
      spark.set(this.history.path(key, queue.contacts_waiting));
      put(seen, t('spark.short', this.history.minutes(key)));
      ticked();
      attribute(act, 'aria-label', this.spoken(key, queue, judged));
    };
    return {element: h('div', {role: 'listitem'}, act), show, tick: ticked};
  }

  spoken(key, queue, judged) {
    const agents = STATES.map(
      ([field, name]) => `${whole(queue[`agents_${field}`])} ${t(`state.${name}`)}`,
    ).join(', ');
    return [
      queue.name,
      t(`level.${NAMES[judged.level]}`),
      `${whole(queue.contacts_waiting)} ${t('q.waiting')}`,
      `${t('q.longest')} ${since(queue.oldest_since_ms, this.live.now())}`,
      `${t('q.share')} ${pct(queue.service_level_pct)}`,
      agents,
    ]
      .filter(Boolean)
      .join('; ');
  }
}
