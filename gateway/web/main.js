/** The start of the page: continue a stored session, or show the log-on page. */
import {logOnPage} from './logon.js';
import {about, adopt, uuid} from './oscc-client.js';
import {
  button, change, day, dotted, h, icon, language, preferred, say, shown, speak, t, tOr, turnTo,
} from './ui.js';

const VERSION = '1.0';
const NUMBERS = 5;
const RANDOM_UUID = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/i;
const APPLICATIONS = ['dashboard', 'remote_assistant'];
const app = document.getElementById('app');
// a browser without Trusted Types accepts plain text
const policy = globalThis.trustedTypes?.createPolicy('oscc', {
  createScriptURL: (url) => (url === 'sw.js' ? url : ''),
}) ?? {createScriptURL: (url) => url};

/**
 * The data that the device stores. The session's token belongs to this tab: two tabs are two sessions, perhaps
 * of two people, and neither finds the other's. If the person chooses to stay logged on, the token is stored for
 * later tabs, too: one session of each application, which a new tab continues when no open tab has it. Choices,
 * site and user name belong to this tab; a new tab begins with those that were stored last. Numbers are stored
 * for one person who chose it. Realtime data is never stored.
 */
const kept = {
  /** `person`: the user whose typed numbers are stored, if any; `typed`: numbers that are not stored. */
  person: null,
  typed: [],
  /** Releases the session for other tabs. */
  letGo() {},

  read(name, store = localStorage) {
    try {
      return JSON.parse(store.getItem(`oscc.${name}`));
    } catch {
      return null;
    }
  },
  write(name, value, ...stores) {
    for (const store of stores) {
      try {
        if (value === null) store.removeItem(`oscc.${name}`);
        else store.setItem(`oscc.${name}`, JSON.stringify(value));
      } catch {
        /* a browser that keeps nothing */
      }
    }
  },
  both(name) {
    return kept.read(name, sessionStorage) ?? kept.read(name);
  },
  get choices() {
    return {
      theme: 'auto',
      language: null,
      target: 80,
      application: null,
      pins: [],
      limits: {},
      ...kept.both('choices'),
    };
  },
  choose(change) {
    kept.write('choices', {...kept.choices, ...change}, sessionStorage, localStorage);
  },
  /** Site and user name, if the person wants them remembered. */
  get login() {
    const {site, user} = kept.both('login') ?? {};
    return {site, user};
  },
  /** @param {object|null} login null: forget who was remembered, numbers and all */
  remember(login) {
    kept.write('login', login, sessionStorage, localStorage);
    if (!login) kept.forget();
  },
  get session() {
    return kept.read('session', sessionStorage);
  },
  /** Whether the session is the one that outlives its tab. */
  stays: (session) => Boolean(session) && kept.read(`session.${session.application}`)?.id === session.id,
  /** @param {object|null} session null: it is over @param {boolean} [stay] beyond this tab; else as it is */
  keep(session, stay = kept.stays(session ?? kept.session)) {
    const before = kept.session;
    const now = session && (before?.id === session.id ? {...before, ...session} : session);
    kept.write('session', now, sessionStorage);
    if (stay) kept.write(`session.${(session ?? before).application}`, now, localStorage);
    if (!now) kept.letGo();
    else if (stay && before?.id !== now.id) kept.hold(now.id);
  },
  /**
   * Hold a session that stays, for as long as this tab lives and it does.
   * @param {boolean} [ifFree] only if no open tab has it; else once no tab has it
   * @returns {Promise<boolean>} whether it is this tab's
   */
  hold: (id, ifFree = false) =>
    new Promise((answer) => {
      const held = (lock) => {
        answer(lock !== null);
        return lock && new Promise((over) => (kept.letGo = over));
      };
      // without locks (an insecure connection has none) the first tab gets it
      if (!navigator.locks) answer(true);
      else navigator.locks.request(`oscc.${id}`, {ifAvailable: ifFree}, held).catch(() => answer(true));
    }),
  /** The session that a closed tab left for the next one. */
  async left(application) {
    const known = () => kept.read(`session.${application}`);
    const id = known()?.id;
    if (!id || !(await kept.hold(id, true))) return null;
    // it may have ended while this tab waited, or got another token
    if (known()?.id === id) return known();
    kept.letGo();
    return null;
  },
  /** A log-on without staying ends the session that was left. */
  async forsake(application) {
    if (!(await kept.left(application))) return;
    kept.write(`session.${application}`, null, localStorage);
    kept.letGo();
  },
  /** The numbers that this tab's person has typed, the newest first. */
  get numbers() {
    return kept.person ? kept.numbersOf(kept.person) : kept.typed;
  },
  numbersOf(person) {
    const {whose, list} = kept.read('numbers') ?? {};
    return whose === person ? list : [];
  },
  /** A number that was accepted. */
  used(number) {
    const list = [...new Set([number, ...kept.numbers])].slice(0, NUMBERS);
    if (kept.person) kept.write('numbers', {whose: kept.person, list}, localStorage);
    else kept.typed = list;
  },
  forget() {
    kept.write('numbers', null, localStorage);
  },
  device() {
    const before = kept.read('device');
    // a random UUID alone identifies a device: wrong passwords of others do not keep its people out
    const id = RANDOM_UUID.test(before) ? before : uuid();
    kept.write('device', id, localStorage);
    const {userAgentData: data, userAgent} = navigator;
    const platform = data?.platform || /Android|iPhone|iPad|Windows|Mac|Linux/.exec(userAgent)?.[0] || 'web';
    const browser = /Edg|Firefox|Chrome|Safari/.exec(userAgent)?.[0].replace('Edg', 'Edge') ?? 'Browser';
    return {device: {id, name: `${browser}, ${platform}`}, platform: 'web', appVersion: VERSION};
  },
};

/** Apply the chosen theme. */
function dress() {
  const {theme} = kept.choices;
  document.documentElement.dataset.theme = theme;
  const dark = theme === 'dark' || (theme === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.querySelector('meta[name=theme-color]').content = dark ? '#161c25' : '#ffffff';
}

/**
 * Set `data-large` where text is so large that few words fit in a line. A media query sees the browser's own
 * setting only, not the text size of a whole iPhone. A change fires `resize`.
 */
function textSize() {
  const gauge = h('i', {class: 'gauge', 'aria-hidden': 'true'});
  const look = () =>
    document.documentElement.toggleAttribute('data-large', innerWidth <= 17 * gauge.getBoundingClientRect().width);
  document.body.append(gauge);
  addEventListener('resize', look);
  new ResizeObserver(() => dispatchEvent(new Event('resize'))).observe(gauge);
  look();
}

/** The height of the on-screen keyboard: sheets are placed above it. */
function keyboard() {
  const {visualViewport: seen} = globalThis;
  const look = () => {
    const covered = Math.max(0, Math.round(innerHeight - seen.height - seen.offsetTop));
    document.documentElement.style.setProperty('--keyboard', `${seen.scale > 1.01 ? 0 : covered}px`);
  };
  for (const name of ['resize', 'scroll']) seen?.addEventListener(name, look);
}

/** Show that the gateway does not answer, and try again until it does. */
function unreachable(told) {
  const again = () => {
    clearTimeout(timer);
    removeEventListener('online', again);
    logOnPage(doors, told, true);
  };
  const timer = setTimeout(again, 8000);
  addEventListener('online', again);
  const title = navigator.onLine ? t('unreachable.title') : t('offline.title');
  const before = app.querySelector('.unreachable');
  const page = before ?? h('main', {class: 'boot unreachable'});
  change(page, () =>
    page.replaceChildren(
      icon('down', 'huge'),
      h('h1', {tabindex: '-1'}, title),
      h('p', {class: 'muted'}, t('offline.text')),
      button(t('try.now'), again, 'primary'),
    ),
  );
  if (!before) turnTo(page);
}

/** Whether a new version of this page waits, and where that is shown. */
const version = {waits: false, banner: null};

/** The offer of a new version, for the page that is being drawn. */
function offer() {
  version.banner = h(
    'div',
    {class: 'banner info', hidden: !version.waits},
    icon('notice'),
    h('p', {}, t('version.new')),
    button(t('version.load'), renew, 'small'),
  );
  return version.banner;
}

/** Activate the waiting worker; then all windows load the new files. */
async function renew() {
  const found = await navigator.serviceWorker.getRegistration();
  if (found?.waiting) found.waiting.postMessage('go on');
  else location.reload();
}

/** Look whether there is a newer page, as there may be after a gateway has been restarted. */
function seekNewer() {
  navigator.serviceWorker
    ?.getRegistration()
    .then((found) => found?.update())
    .catch(() => {});
}

/** The part below the log-on: encryption, privacy statement and contact. */
function foot(gateway, inventory) {
  const {trusted_transport: trusted, privacy = {}, name, version} = gateway;
  return h(
    'footer',
    {class: 'foot'},
    h(
      'p',
      {class: trusted ? 'safe' : 'unsafe'},
      icon(trusted ? 'lock' : 'unlock'),
      h('span', {}, t(trusted ? 'transport.trusted' : 'transport.insecure')),
    ),
    h(
      'p',
      {},
      safeLink(privacy.statement_url, t('privacy.statement')),
      button(t('privacy.inventory'), inventory, 'link'),
      privacy.contact && h('span', {}, t('privacy.contact', privacy.contact)),
    ),
    h('p', {class: 'muted'}, `${name} ${version}`),
  );
}

/** A notice as it is read before and after the log-on. */
function noticeCard(notice, ...acts) {
  const due = notice.effective_at_ms;
  return h(
    'article',
    {class: `notice ${notice.category}`},
    icon('notice'),
    h(
      'div',
      {class: 'stack'},
      h('h3', {}, notice.title),
      h('p', {}, notice.summary),
      h(
        'p',
        {class: 'muted'},
        dotted(
          tOr(`notice.${notice.category}`, notice.category),
          due && t(due > Date.now() ? 'notice.from' : 'notice.since', day(due)),
        ),
      ),
      safeLink(notice.link, t('notice.read')),
      acts,
    ),
  );
}

/** A link to a page of another site; null for an unsafe address. */
function safeLink(url, label) {
  return /^https?:\/\//i.test(url ?? '')
    ? h('a', {href: url, target: '_blank', rel: 'noopener noreferrer'}, label)
    : null;
}

/** The functions that this module gives to the others. */
const doors = {
  app,
  kept,
  dress,
  foot,
  offer,
  seekNewer,
  noticeCard,
  unreachable,
  work,
  logOnPage: (told) => logOnPage(doors, told),
};

async function work(session, gateway) {
  const {open} = await import('./shell.js');
  await open(session, gateway, doors);
}

async function start() {
  dress();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', dress);
  keyboard();
  textSize();
  await speak(preferred(kept.choices.language));
  const known = await mine();
  if (!known) await logOnPage(doors);
  else await resume(known);
  if (!('serviceWorker' in navigator)) return;
  reloaded();
  setTimeout(late, 500);
}

/** The session of this tab, or else one that was left: at first of the application that was used last. */
async function mine() {
  const own = kept.session;
  if (kept.stays(own)) kept.hold(own.id);
  if (own) return own;
  for (const application of [kept.choices.application, ...APPLICATIONS]) {
    const left = await kept.left(application);
    if (left) kept.write('session', left, sessionStorage);
    if (left) return left;
  }
  return null;
}

/** Continue the stored session. */
async function resume(known) {
  kept.person = known.person ?? null;
  const session = adopt(known);
  session.user ??= known.user ?? null;
  if (known.leaving) return (await import('./leave.js')).leave(session, doors);
  // the page is there before the gateway has answered
  const gateway = {sites: [], capabilities: null, privacy: {}};
  gateway.whole = () => about({locale: language}).then((found) => Object.assign(gateway, found), () => {});
  return work(session, gateway);
}

/** The version of this page's files, as the gateway has written it into the page. */
const ownVersion = document.documentElement.dataset.version;

/** The version of the files that a worker has loaded. @returns {Promise<string>} */
const versionOf = (worker) =>
  new Promise((answered) => {
    const {port1: here, port2: there} = new MessageChannel();
    here.onmessage = ({data}) => answered(data);
    worker.postMessage('version', [there]);
  });

/** Work that may wait until the page is shown. */
async function late() {
  document.head.append(h('link', {rel: 'manifest', href: 'app.webmanifest'}));
  const {serviceWorker: workers} = navigator;
  const found = await workers.register(policy.createScriptURL('sw.js'), {scope: './'}).catch(() => null);
  const ready = async (worker) => {
    // whatever a browser reports of its workers, and when: files of the page's own version are not new
    if (worker?.state !== 'installed' || (await versionOf(worker)) === ownVersion || version.waits) return;
    version.waits = true;
    if (version.banner) shown(version.banner, true);
    say(t('version.new'));
  };
  // one that an earlier page has fetched is found waiting
  ready(found?.waiting);
  const watch = (worker) => worker?.addEventListener('statechange', () => ready(worker));
  watch(found?.installing);
  found?.addEventListener('updatefound', () => watch(found.installing));
}

/** Reload the page when a new worker is active, so that it never has files of two versions. */
function reloaded() {
  const {serviceWorker: workers} = navigator;
  let had = Boolean(workers.controller);
  workers.addEventListener('controllerchange', () => {
    // what is being typed in a dialog is not thrown away; behind it nothing more is loaded
    const busy = document.querySelector('dialog[open]');
    if (had && busy) busy.addEventListener('close', () => location.reload());
    else if (had) location.reload();
    had = true;
  });
}

start();
