/** Who is there? Goes on with the session that the device has kept, or lets a person log on. */
import {logOnPage} from './logon.js';
import {about, adopt} from './oscc-client.js';
import {button, day, h, icon, language, preferred, say, speak, t, tOr} from './ui.js';

const VERSION = '1.0';
const app = document.getElementById('app');
// a browser without trusted types takes plain text
const policy = globalThis.trustedTypes?.createPolicy('oscc', {
  createScriptURL: (url) => (url === 'sw.js' ? url : ''),
}) ?? {createScriptURL: (url) => url};

/** What the device keeps: choices, what is typed at each log-on, the session's token. Never realtime data. */
const kept = {
  read(name, store = localStorage) {
    try {
      return JSON.parse(store.getItem(`oscc.${name}`));
    } catch {
      return null;
    }
  },
  write(name, value, store = localStorage) {
    try {
      if (value === null) store.removeItem(`oscc.${name}`);
      else store.setItem(`oscc.${name}`, JSON.stringify(value));
    } catch {
      /* a browser that keeps nothing */
    }
  },
  get choices() {
    return {theme: 'auto', language: null, target: 80, stay: false, ...kept.read('choices')};
  },
  choose(change) {
    kept.write('choices', {...kept.choices, ...change});
  },
  get session() {
    return kept.read('session', sessionStorage) ?? kept.read('session');
  },
  /** @param {object|null} session @param {boolean} [long] beyond this window; by default as it is kept now */
  keep(session, long = kept.read('session') !== null) {
    kept.write('session', long ? session : null);
    kept.write('session', long ? null : session, sessionStorage);
  },
  device() {
    const id =
      kept.read('device') ??
      [...crypto.getRandomValues(new Uint8Array(16))]
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join('');
    kept.write('device', id);
    const {userAgentData: data, userAgent} = navigator;
    const platform = data?.platform || /Android|iPhone|iPad|Windows|Mac|Linux/.exec(userAgent)?.[0] || 'web';
    const browser = /Edg|Firefox|Chrome|Safari/.exec(userAgent)?.[0].replace('Edg', 'Edge') ?? 'Browser';
    return {device: {id, name: `${browser}, ${platform}`}, platform: 'web', appVersion: VERSION};
  },
};

/** Put on the theme that was chosen. */
function dress() {
  const {theme} = kept.choices;
  document.documentElement.dataset.theme = theme;
}

/** Nobody answers: say so, and try again. */
function unreachable(told) {
  const again = () => {
    clearTimeout(timer);
    removeEventListener('online', again);
    logOnPage(doors, told);
  };
  const timer = setTimeout(again, 8000);
  addEventListener('online', again);
  const title = navigator.onLine ? t('unreachable.title') : t('offline.title');
  app.replaceChildren(
    h(
      'main',
      {class: 'boot'},
      icon('down', 'huge'),
      h('h1', {}, title),
      h('p', {class: 'muted'}, t('offline.text')),
      button(t('try.now'), again, 'primary'),
    ),
  );
  say(title);
}

/** What stands below the log-on: how safe the way is, and whose privacy rules hold. */
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
        [
          tOr(`notice.${notice.category}`, notice.category),
          due && t(due > Date.now() ? 'notice.from' : 'notice.since', day(due)),
        ]
          .filter(Boolean)
          .join(' · '),
      ),
      safeLink(notice.link, t('notice.read')),
      acts,
    ),
  );
}

/** A link to somebody else's page, if it is one. */
function safeLink(url, label) {
  return /^https?:\/\//i.test(url ?? '')
    ? h('a', {href: url, target: '_blank', rel: 'noopener noreferrer'}, label)
    : null;
}

/** What the other rooms get from this one. */
const doors = {
  app,
  kept,
  dress,
  foot,
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
  await speak(preferred(kept.choices.language));
  const known = kept.session;
  if (!known) await logOnPage(doors);
  else await resume(known);
  if ('serviceWorker' in navigator) setTimeout(late, 500);
}

/** Go on where the device was. */
async function resume(known) {
  const session = adopt(known);
  session.user ??= known.user ?? null;
  if (known.leaving) return (await import('./leave.js')).leave(session, doors);
  const gateway = await about({locale: language}).catch(() => ({sites: [], capabilities: null, privacy: {}}));
  return work(session, gateway);
}

/** What can wait until the page is there. */
async function late() {
  document.head.append(h('link', {rel: 'manifest', href: 'app.webmanifest'}));
  const found = await navigator.serviceWorker
    .register(policy.createScriptURL('sw.js'), {scope: './'})
    .catch(() => null);
  const ready = (worker) => {
    if (worker?.state === 'installed' && navigator.serviceWorker.controller)
      dispatchEvent(new Event('oscc-new-version'));
  };
  // one that an earlier page has fetched is found waiting
  ready(found?.waiting);
  found?.addEventListener('updatefound', () =>
    found.installing?.addEventListener('statechange', ({target}) => ready(target)),
  );
}

start();
