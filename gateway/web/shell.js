/** The frame of both applications: connection, notices, settings, log-off. */
import {Alerts} from './alerts.js';
import {isOver, leave, whyEnded} from './leave.js';
import {Live} from './live.js';
import {connect} from './oscc-client.js';
import {dialog} from './dialog.js';
import {walk} from './walk.js';
import {
  attribute, button, clock, day, dotted, fill, h, icon, isolated, isToday, put, refusal, reicon, say,
  settingsButton, shown, spaced, t, toast, tOr, turnTo,
} from './ui.js';

const PING_S = 15;
/** The longest version of a client that a gateway accepts. */
const VERSION_CHARS = 32;
/** The first topics of a phone, without agents, which are most of the data. */
export const FIRST = ['queues', 'groups', 'aggregates'];
export const TOPICS = [...FIRST, 'agents'];
export const isNarrow = () => matchMedia('(max-width: 47.49em)').matches;
const PARTS = {dashboard: () => import('./dashboard.js'), remote_assistant: () => import('./assistant.js')};
const MODES = {
  live: ['live', 'ok'],
  stale: ['stale', 'warn'],
  down: ['down', 'bad'],
  lost: ['down', 'bad'],
  connecting: ['stale', ''],
  updating: ['stale', ''],
};
/** The least age of data that is shown. */
const AGE_SHOWN_MS = 5000;
const BRIEF_CHARS = 120;
/** About as long as a gateway keeps what a phone has missed. */
const REMEMBERED_MS = 75_000;

/** Show the session's application until it ends. */
export async function open(session, gateway, doors) {
  const part = PARTS[session.application]();
  const topics = session.application === 'dashboard' ? (isNarrow() ? FIRST : TOPICS) : undefined;
  const connection = connect(session, {
    pingS: PING_S,
    topics,
    client: {app: 'oscc-web', version: (gateway.version ?? '1').slice(0, VERSION_CHARS), platform: 'web'},
  });
  const live = new Live(connection, gateway.capabilities, topics);
  const shell = new Shell(session, gateway, doors, live);
  const [{view}] = await Promise.all([part, styled()]);
  shell.show(view(live, shell));
}

/** Load the style sheet of the applications with the first of them. */
function styled() {
  const there = document.querySelector('link[href="work.css"]');
  if (there) return null;
  return new Promise((resolve) =>
    document.head.append(h('link', {rel: 'stylesheet', href: 'work.css', onload: resolve, onerror: resolve})),
  );
}

/** When the last session ended: the time of today, or else the day, too. */
const endedAt = (ms) => (isToday(ms) ? t('last.end', clock(ms)) : t('last.end.on', day(ms)));

/** The beginning of a text, as long as a message may be; the bell opens the whole text. */
const brief = (text) => (text.length > BRIEF_CHARS ? `${text.slice(0, BRIEF_CHARS - 1)}…` : text);

export class Shell {
  constructor(session, gateway, doors, live) {
    Object.assign(this, {app: doors.app, session, gateway, doors, live, connection: live.connection});
    this.notices = new Map();
    this.leaving = false;
    this.wishesToLeave = doors.kept.session?.leavesAfter === true;
    this.stop = new AbortController();
    this.alerts = new Alerts(this);
    live.staysOn = () => this.stays;
    this.build();
    this.listen();
  }

  get choices() {
    return this.doors.kept.choices;
  }
  choose(change) {
    this.doors.kept.choose(change);
  }
  /** Whether this page stays connected while it is hidden: on a desk, if the person has chosen alerts. */
  get stays() {
    return this.session.application === 'dashboard' && this.choices.stay === true && !isNarrow();
  }

  build() {
    const {session, gateway, doors} = this;
    this.mark = icon('stale');
    this.health = h('span', {class: 'health-text'});
    this.age = h('span', {class: 'muted age'});
    this.bell = h(
      'button',
      {type: 'button', class: 'quiet square', hidden: true, onclick: () => this.readNotices()},
      icon('notice'),
      (this.count = h('b', {class: 'badge'})),
    );
    this.lost = h(
      'div',
      {class: 'banner over bad', hidden: true},
      icon('down'),
      (this.lostText = h('p', {})),
      button(t('try.now'), () => this.connection.foreground(), 'small'),
    );
    this.old = h(
      'div',
      {class: 'banner over warn', hidden: true},
      icon('stale'),
      (this.oldText = h('p', {})),
    );
    // texts about the connection lie over the strip, so that the page does not move
    const strip = h(
      'header',
      {class: 'strip'},
      h(
        'div',
        {class: 'standing'},
        h('div', {class: 'health', 'data-health': ''}, this.mark, this.health, this.age),
        h(
          'p',
          {class: 'where'},
          h('strong', {}, t(`app.${session.application}`)),
          (this.site = h('span', {class: 'muted'})),
        ),
        this.lost,
        this.old,
      ),
      this.bell,
      settingsButton(() => this.settings()),
    );
    this.must = h(
      'div',
      {class: 'banner info', hidden: true},
      icon('notice'),
      (this.mustText = h('p', {})),
      button(t('notice.open'), () => this.readNotices(), 'small'),
    );
    this.parts = h(
      'div',
      {class: 'banner caution', hidden: true, role: 'status'},
      icon('attention'),
      (this.partsText = h('p', {})),
    );
    this.place = h(
      'main',
      {class: 'place', id: 'place', tabindex: '-1'},
      h('div', {class: 'boot'}, h('p', {class: 'muted'}, t('connecting'))),
    );
    this.frame = h(
      'div',
      {class: `shell ${session.application}`},
      h('a', {class: 'skip', href: '#place', onclick: (event) => this.skip(event)}, t('skip')),
      strip,
      h(
        'section',
        {class: 'banners', 'aria-label': t('messages')},
        this.parts,
        this.must,
        doors.offer(),
        this.choices.walked === true ? null : walk(this),
      ),
      this.place,
    );
    this.app.replaceChildren(this.frame);
    scrollTo(0, 0);
    this.named();
    this.learn();
  }

  /** Ask what the gateway is, on a page that was shown before it has answered. */
  async learn() {
    const {gateway} = this;
    if (gateway.name || !gateway.whole || this.learning) return;
    this.learning = true;
    await gateway.whole();
    this.learning = false;
    this.live.capable(gateway.capabilities);
    this.named();
  }

  /** Show the site; on a slow network the page is shown before it is known. */
  named() {
    const {session, gateway} = this;
    const site = gateway.sites.find(({id}) => id === session.site)?.display_name ?? session.site;
    put(this.site, ` · ${isolated(site)}`);
    this.titled = dotted(t(`app.${session.application}`), site);
    this.alerts.title();
  }

  /** Focus the content, without an entry in the history: back would close what is open. */
  skip(event) {
    event.preventDefault();
    this.place.focus();
  }

  show(node) {
    if (this.stop.signal.aborted) return;
    const {activeElement: held} = document;
    this.place.replaceChildren(...[node].flat());
    if (!held || held === document.body) this.place.focus({preventScroll: true});
    this.look();
  }

  listen() {
    const {connection, live} = this;
    const {signal} = this.stop;
    connection.addEventListener(
      'link',
      ({detail}) => {
        this.look();
        if (detail.state === 'gone' && !this.leaving) this.gone(detail);
      },
      {signal},
    );
    connection.addEventListener('sync', () => this.doors.seekNewer(), {signal});
    connection.addEventListener('sync', () => this.learn(), {signal});
    connection.addEventListener('renewed', ({detail}) => this.keep(detail), {signal});
    connection.addEventListener('notice', ({detail}) => this.notice(detail), {signal});
    connection.addEventListener('refused', ({detail}) => toast(refusal(detail), 'bad'), {signal});
    document.addEventListener(
      'visibilitychange',
      () => {
        if (document.hidden) {
          this.hiddenAt = Date.now();
          if (!this.stays) connection.background();
          return;
        }
        if (!this.stays && Date.now() - this.hiddenAt > REMEMBERED_MS) this.narrow?.();
        connection.foreground();
      },
      {signal},
    );
    addEventListener('pagehide', () => connection.background(), {signal});
    addEventListener(
      'pageshow',
      ({persisted}) => {
        if (persisted) connection.foreground();
      },
      {signal},
    );
    addEventListener('online', () => connection.networkChanged(), {signal});
    addEventListener('offline', () => connection.networkChanged(), {signal});
    live.each(() => this.look());
    live.read((changed) => {
      if (!changed || changed.has('me')) this.person();
      if (!changed || changed.has('site')) this.functions();
      if (!changed) this.look();
    });
  }

  keep(session) {
    this.doors.kept.keep({...session, user: this.session.user ?? this.connection.welcome?.user ?? null});
  }

  person() {
    if (this.welcomed || !this.connection.welcome) return;
    this.welcomed = true;
    const {last_end: end} = this.live.me;
    this.session.user ??= this.connection.welcome.user;
    // one that was taken over was taken over from here, and the person has just confirmed it
    if (end && !['logged_off', 'taken_over'].includes(end.reason))
      toast(`${endedAt(end.at_ms)} ${whyEnded(end.reason, end.by)}`);
  }

  /** Show which functions of the contact centre are down or degraded. */
  functions() {
    const functions = Object.entries(this.live.get('site')?.functions ?? {});
    const names = (state) =>
      functions.filter(([, is]) => is === state).map(([name]) => tOr(`function.${name}`, spaced(name)));
    const texts = ['down', 'degraded']
      .map((state) => [state, names(state).join(', ')])
      .filter(([, list]) => list)
      .map(([state, list]) => t(`functions.${state}`, list));
    put(this.partsText, texts.join(' '));
    shown(this.parts, texts.length > 0);
  }

  /** Show the state of the connection. */
  look() {
    const {live, connection} = this;
    live.look();
    const [mark, kind] = MODES[live.mode];
    const spoken = t(`mode.${live.mode}`);
    // a short interruption is shown, and not announced to screen readers
    if (this.told !== live.mode && live.mode !== 'updating') {
      if (this.told) this.tell(spoken);
      this.told = live.mode;
    }
    reicon(this.mark, mark);
    attribute(this.mark.parentElement, 'data-health', kind);
    attribute(this.frame, 'data-frozen', live.frozen && live.whole ? live.mode : null);
    put(this.health, spoken);
    put(this.age, this.ageText());
    this.banners(connection.link);
  }

  ageText() {
    const {live} = this;
    if (live.asOf === null) return '';
    if (live.frozen) return t('as.of', clock(live.asOf));
    return live.age() < AGE_SHOWN_MS ? '' : t('age', Math.round(live.age() / 1000));
  }

  /** Announce a text; above a dialog, which hides the banners, also show it. */
  tell(spoken) {
    this.message?.remove(); // it is no longer true
    this.message = null;
    if (document.querySelector('dialog[open]')) this.message = toast(spoken, this.live.frozen ? 'bad' : 'done');
    else say(spoken);
  }

  banners({retryAtMs, bus}) {
    const {mode, asOf} = this.live;
    shown(this.lost, mode === 'lost');
    const left = retryAtMs === null ? null : Math.max(0, Math.ceil((retryAtMs - Date.now()) / 1000));
    if (mode === 'lost')
      put(
        this.lostText,
        [
          navigator.onLine ? t('lost.text') : t('offline.title'),
          asOf === null ? '' : `${t('data.as.of', clock(asOf))}.`,
          left ? t('lost.again', left) : t('lost.trying'),
        ]
          .filter(Boolean)
          .join(' '),
      );
    const degraded = mode === 'live' && bus && bus !== 'live';
    shown(this.old, mode === 'stale' || mode === 'down' || degraded);
    if (!this.old.hidden) put(this.oldText, degraded ? t('bus.degraded') : t(`old.${mode}`, clock(asOf)));
  }

  // ---- notices ----

  notice(notice) {
    this.notices.set(notice.id, notice);
    this.countNotices();
    if (!notice.must_acknowledge) toast(brief([notice.title, notice.summary].filter(Boolean).join(': ')));
  }

  countNotices() {
    const must = [...this.notices.values()].filter((each) => each.must_acknowledge);
    put(this.count, String(this.notices.size));
    attribute(this.bell, 'aria-label', t('notices.n', this.notices.size));
    shown(this.bell, this.notices.size > 0);
    shown(this.must, must.length > 0);
    if (must.length) put(this.mustText, must[0].title);
  }

  readNotices() {
    const list = h('div', {class: 'stack'});
    const opened = dialog({title: t('notices'), body: list});
    const draw = () =>
      fill(list, [...this.notices.keys()], () =>
        [...this.notices.values()].map((notice) =>
          this.doors.noticeCard(
            notice,
            button(
              t('notice.acknowledge'),
              async () => {
                const {status, error} = await this.connection.acknowledge(notice);
                // a notice of OSCC-E itself cannot be acknowledged: it is only closed here
                if (status === 'rejected' && error?.code !== 'not_found') return toast(refusal(error), 'bad');
                this.notices.delete(notice.id);
                this.countNotices();
                if (this.notices.size) draw();
                else opened.close();
                return undefined;
              },
              'primary',
            ),
          ),
        ),
      );
    draw();
  }

  // ---- ends of the session ----

  async settings() {
    (await import('./more.js')).settings(this);
  }

  logOff() {
    const {live} = this;
    const busy = live.whole && (live.get(`agent:${live.me.agent}`)?.handling ?? []).length > 0;
    const after = busy && !live.frozen && this.leaveAfter;
    dialog({
      title: t('log.off.ask'),
      body: h('p', {}, t(after ? 'log.off.after' : `log.off.${this.session.application}`)),
      actions: [
        {label: t('cancel')},
        {
          label: t(after ? 'log.off.after.do' : 'log.off'),
          kind: 'primary',
          run: () => {
            if (after) this.leaveAfter();
            else this.leave();
          },
        },
      ],
    });
  }

  leave() {
    if (this.leaving) return;
    this.leaving = true;
    this.end();
    leave(this.session, this.doors, this.connection);
  }

  /** Whether the person is logged off after the contact; stored, so that a reload keeps it. */
  get leavesAfter() {
    return this.wishesToLeave;
  }
  set leavesAfter(wish) {
    this.wishesToLeave = wish;
    const {kept} = this.doors;
    if (kept.session) kept.keep({...kept.session, leavesAfter: wish});
  }

  /** The session or this connection to it is over. */
  gone({code, reason, by}) {
    this.end();
    const {kept, logOnPage} = this.doors;
    const again = (label) => button(label, () => open(this.session, this.gateway, this.doors), 'primary');
    if (code === 4004)
      return this.endPage(t('ended.replaced'), t('ended.replaced.text'), again(t('use.here')));
    const text = whyEnded(reason, by);
    if (!isOver(code)) {
      const off = button(t('log.off'), () => leave(this.session, this.doors));
      return this.endPage(t('ended.stopped'), text, again(t('try.again')), off);
    }
    kept.keep(null);
    return logOnPage({kind: 'bad', title: t('ended.title', clock(this.live.wall)), text});
  }

  endPage(title, text, ...acts) {
    turnTo(
      h(
        'main',
        {class: 'boot'},
        icon('notice', 'huge'),
        h('h1', {}, title),
        h('p', {class: 'muted'}, text),
        acts,
      ),
    );
  }

  end() {
    this.stop.abort();
    this.live.end();
    history.replaceState(null, '');
    for (const open of document.querySelectorAll('dialog')) open.close();
  }
}
