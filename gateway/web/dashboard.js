/** The Dashboard: six key figures, queues, agents, and the details of one of them. */
import {Acts} from './acts.js';
import {Agents} from './agents.js';
import {ATTENTION, NAMES, share} from './levels.js';
import {Place} from './place.js';
import {Queues} from './queues.js';
import {Sheet} from './sheet.js';
import {FIRST, isNarrow, TOPICS} from './shell.js';
import {attribute, h, icon, pct, put, reicon, shown, since, t, whole} from './ui.js';

const TABS = [
  ['queues', 'queues'],
  ['agents', 'agents'],
  ['activity', 'activity'],
];
const LEVEL_ICONS = ['ok', 'attention', 'action'];
const START = {tab: 'queues', detail: null};
const ON_WALL = ['queues', 'aggregates'];

/** The place in the address: `#queue=5` is the page of a queue, `#wall` the wallboard. */
function addressed() {
  const [, id] = /^#queue=(\d{1,20})$/.exec(location.hash) ?? [];
  if (id) return {...START, detail: {kind: 'queue', id}};
  return location.hash === '#wall' ? {...START, wall: true} : null;
}

/** The address of a place. Agents have none, as it would be in the browser's history. */
const address = ({detail, wall}) =>
  location.pathname + location.search + (wall ? '#wall' : detail?.kind === 'queue' ? `#queue=${detail.id}` : '');

export function view(live, shell) {
  return new Dashboard(live, shell).element;
}

class Dashboard {
  constructor(live, shell) {
    this.live = live;
    this.shell = shell;
    this.at = START;
    this.shareHeld = 0;
    const go = (detail) => this.go({detail});
    shell.onLooks = (table) => this.element && attribute(this.element, 'data-look', table ? 'table' : null);
    this.queues = new Queues(live, shell, go, () => this.turnWall());
    this.agents = new Agents(live, go, shell);
    this.acts = new Acts(live, go);
    const pinned = () => {
      this.queues.sort();
      this.queues.rows.refreshAll();
      this.agents.places();
    };
    this.pages = {
      queue: new Place(live, 'queue', this.queues, go, shell, pinned),
      group: new Place(live, 'group', this.queues, go, shell, pinned),
      agent: new Sheet(live, go),
    };
    this.build();
    live.read((changed) => this.read(changed));
    live.each(() => this.second());
    addEventListener(
      'popstate',
      ({state}) => {
        const {tab, detail: left} = this.at;
        this.at = state?.oscc ?? addressed() ?? {tab, detail: null};
        this.draw();
        if (left && document.activeElement === document.body) this.returnTo(left);
      },
      {signal: shell.stop.signal},
    );
    if (history.state?.oscc) this.at = history.state.oscc;
    else this.begin();
    this.wake = new Awake(shell.stop.signal);
    addEventListener('keydown', (event) => this.key(event), {signal: shell.stop.signal});
    shell.narrow = () => this.looksAtAgents || live.only(FIRST);
    addEventListener('resize', () => this.resized(), {signal: shell.stop.signal});
    this.queues.looks();
    this.draw();
  }

  build() {
    this.figures = Object.fromEntries(
      ['waiting', 'longest', 'share', 'available', 'contact', 'abandoned'].map((name) => [
        name,
        figure(name),
      ]),
    );
    this.back = h(
      'button',
      {type: 'button', class: 'quiet back', onclick: () => history.back()},
      icon('back'),
      t('back'),
    );
    this.detail = h('section', {class: 'pane detail data', 'aria-label': t('detail')});
    this.tabs = TABS.map(([name, mark]) =>
      h(
        'button',
        {type: 'button', onclick: () => this.go({tab: name, detail: null})},
        icon(mark),
        h('span', {}, t(`tab.${name}`)),
        name === 'activity' ? (this.badge = h('b', {class: 'badge', hidden: true})) : null,
      ),
    );
    this.element = h(
      'div',
      {class: 'board'},
      h('h1', {class: 'sr'}, t('app.dashboard')),
      h(
        'section',
        {class: 'kpis data', 'aria-label': t('kpis')},
        (this.kpis = h(
          'dl',
          {},
          Object.values(this.figures).map(({element}) => element),
        )),
      ),
      this.queues.element,
      this.agents.element,
      this.detail,
      this.acts.element,
      h('nav', {class: 'tabs', 'aria-label': t('sections')}, this.tabs),
    );
  }

  /** Open the place of a link; the browser's back opens the start. */
  begin() {
    const at = addressed();
    if (!at) return;
    history.replaceState({oscc: START}, '', address(START));
    history.pushState({oscc: at}, '', address(at));
    this.at = at;
  }

  resized() {
    this.want();
    this.queues.looks();
    this.queues.sort();
  }

  // ---- the wallboard: queues, no people, and a screen that stays on ----

  turnWall() {
    if (this.at.wall) history.back();
    else this.go({detail: null, wall: true});
  }

  // ---- the keyboard ----

  /** Keys: 1, 2, 3: queues, agents, commands; `/`: search; Esc: back. None while the person types or a dialog is open. */
  key(event) {
    const {key} = event;
    const busy = event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey;
    const typing = event.target.closest?.('input, select, textarea');
    if (busy || typing || this.shell.choices.keys === false || document.querySelector('dialog[open]')) return;
    if (key === 'Escape' && (this.at.detail || this.at.wall)) history.back();
    else if (this.at.wall) return;
    else if (key === '/') (this.at.tab === 'agents' ? this.agents : this.queues).search.focus();
    else if (['1', '2', '3'].includes(key)) this.enter(TABS[key - 1][0]);
    else return;
    event.preventDefault();
  }

  /** Open a section and focus it. */
  enter(tab) {
    this.go({tab, detail: isNarrow() ? null : this.at.detail});
    const {queues, agents, acts} = this;
    if (tab === 'queues') queues.list.enter();
    else if (tab === 'agents') agents.rows.enter();
    else acts.element.querySelector('h2').focus();
  }

  /** Open a place; the browser's back returns. Only names of places are stored for that, in this tab. */
  go(change) {
    const next = {...this.at, ...change};
    if (JSON.stringify(next) === JSON.stringify(this.at)) return;
    const other = Boolean(next.detail) && !(this.at.detail && next.detail.kind === this.at.detail.kind);
    const deeper = other || Boolean(next.wall && !this.at.wall);
    this.at = next;
    history[deeper ? 'pushState' : 'replaceState']({oscc: next}, '', address(next));
    this.draw();
    if (next.detail) this.detail.querySelector('h2')?.focus({preventScroll: true});
  }

  /** Restore the place where the user left. @param {{kind: string, id: string}} left */
  returnTo({kind, id}) {
    const {queues, agents, acts, page} = this;
    const key = `${kind}:${id}`;
    if (page) page.returnTo?.(key);
    else if (acts.returnTo(key)) return;
    else if (kind === 'group') agents.team.focus();
    else (kind === 'queue' ? queues.list : agents.rows).focus(key);
  }

  /** Follow agents when they are shown for the first time. */
  want() {
    if (this.at.wall) this.live.want(ON_WALL, true);
    else if (this.looksAtAgents) this.live.want(TOPICS);
    else this.live.want(FIRST);
  }

  get looksAtAgents() {
    return !this.at.wall && (this.at.tab === 'agents' || Boolean(this.at.detail) || !isNarrow());
  }

  draw() {
    const {tab, detail, wall = false} = this.at;
    this.want();
    attribute(this.element, 'data-wall', wall);
    this.wake.keep(wall);
    if (this.queues.onWall !== wall) this.queues.setWall(wall);
    attribute(this.element, 'data-tab', tab);
    attribute(this.element, 'data-detail', detail?.kind ?? null);
    this.tabs.forEach((each, place) =>
      attribute(each, 'aria-current', TABS[place][0] === tab ? 'page' : null),
    );
    const page = detail && this.pages[detail.kind];
    this.queues.select(detail?.kind === 'queue' ? detail.id : null);
    this.agents.select(detail?.kind === 'agent' ? detail.id : null);
    if (this.page && this.page !== page) this.page.close?.();
    if (page && (this.page !== page || page.id !== detail.id)) {
      page.open(detail.id);
      this.detail.replaceChildren(this.back, page.element);
      this.detail.scrollTop = 0;
    }
    if (!page) this.detail.replaceChildren();
    this.page = page || null;
    this.few();
  }

  read(changed) {
    if (!changed) this.second();
    this.live.follow();
    this.queues.read(changed);
    this.agents.read(changed);
    this.page?.read(changed);
    if (!changed || changed.has('acts')) this.acts.draw();
    const waiting = this.live.acts.filter(
      ({outcome, after}) => !outcome || (outcome.status === 'pending' && !after),
    ).length;
    shown(this.badge, waiting > 0);
    put(this.badge, String(waiting));
  }

  second() {
    this.queues.second();
    this.agents.second();
    this.page?.second();
    this.sum();
    if (this.live.whole) this.shell.alerts.count(this.queues.critical());
  }

  /** A phone shows four figures until it follows agents. */
  few() {
    const few = !this.agents.counts && !this.looksAtAgents;
    attribute(this.kpis, 'data-few', few);
    shown(this.figures.available.element, !few);
    shown(this.figures.contact.element, !few);
  }

  /** The figures over all that the session sees; an agent counts once, in however many queues. */
  sum() {
    const {live, figures, shell} = this;
    if (!live.whole) return;
    const queues = live.of('queue').map(([, value]) => value);
    const known = queues.filter(({contacts_waiting: waiting}) => waiting != null);
    const oldest = Math.min(...known.map(({oldest_since_ms: at}) => at ?? Infinity));
    const inTime = weighted(queues, 'service_level_pct');
    this.shareHeld = share(this.shareHeld, inTime, shell.choices.target);
    const worst = this.queues.worst();
    figures.waiting.show(
      known.length ? whole(known.reduce((sum, each) => sum + each.contacts_waiting, 0)) : null,
      worst.waiting,
    );
    figures.longest.show(oldest === Infinity ? null : since(oldest, live.now()), worst.wait);
    // as for a queue: nobody can act at once on a share of the past
    figures.share.show(inTime === null ? null : pct(inTime), Math.min(this.shareHeld, ATTENTION));
    put(figures.share.hint, t('kpi.share.hint', shell.choices.target));
    const {counts} = this.agents;
    this.few();
    figures.available.show(counts && whole(counts.available));
    figures.contact.show(counts && whole(counts.contact + counts.ringing));
    figures.abandoned.show(pct(weighted(queues, 'abandoned_rate_pct')));
  }
}

/** Keep the screen on, where the browser can, while it is requested and the page is visible. */
class Awake {
  constructor(signal) {
    Object.assign(this, {wished: false, lock: null});
    document.addEventListener('visibilitychange', () => this.keep(this.wished), {signal});
    signal.addEventListener('abort', () => this.keep(false));
  }

  async keep(on) {
    this.wished = on;
    if (!on) {
      this.lock?.release();
      this.lock = null;
    } else if (!document.hidden && (!this.lock || this.lock.released)) {
      const lock = await navigator.wakeLock?.request('screen').catch(() => null);
      if (this.wished) this.lock = lock ?? null;
      else lock?.release();
    }
  }
}

/** The contacts of a queue's shares; some servers report only how many were answered and abandoned. */
const contacts = ({received, answered, abandoned}) => received ?? (answered ?? 0) + (abandoned ?? 0);

/** The mean of a share, weighted by the number of contacts; null: unknown. */
function weighted(queues, name) {
  const known = queues.filter((queue) => queue[name] != null);
  const all = known.reduce((sum, queue) => sum + contacts(queue), 0);
  return all ? known.reduce((sum, queue) => sum + queue[name] * contacts(queue), 0) / all : null;
}

function figure(name) {
  const value = h('span', {}, '–');
  const mark = icon('ok', 'mark');
  const word = h('span', {class: 'sr'});
  const hint = h('small', {class: 'muted'});
  const holder = h('dd', {}, mark, value, word);
  const element = h('div', {class: 'kpi'}, h('dt', {}, t(`kpi.${name}`), ' ', hint), holder);
  return {
    element,
    hint,
    show(text, level = 0) {
      put(value, text ?? '–');
      attribute(holder, 'data-level', level ? NAMES[level] : null);
      reicon(mark, LEVEL_ICONS[level]);
      put(word, level ? t(`level.${NAMES[level]}`) : '');
    },
  };
}
