/** Who is there? Goes on with the session that the device has kept, or lets a person log on. */
import {GatewayError, about, adopt, logOn, notices} from './oscc-client.js';
import {button, dialog, h, icon, say, shown} from './ui.js';
import {byName, day, language, preferred, refusal, speak, t, tOr} from './words.js';

const VERSION = '1.0';
const NUMBERS_KEPT = 3;
const app = document.getElementById('app');
const policy = globalThis.trustedTypes?.createPolicy('oscc', {createScriptURL: (url) => (url === 'sw.js' ? url : '')});

/** What the device keeps: choices, what is typed at each log-on, the session's token. Never realtime data. */
export const kept = {
  read(name, store = localStorage) { try { return JSON.parse(store.getItem(`oscc.${name}`)); } catch { return null; } },
  write(name, value, store = localStorage) {
    try { if (value === null) store.removeItem(`oscc.${name}`); else store.setItem(`oscc.${name}`, JSON.stringify(value)); } catch { /* a browser that keeps nothing */ }
  },
  get choices() { return {theme: 'auto', language: null, target: 80, ...kept.read('choices')}; },
  choose(change) { kept.write('choices', {...kept.choices, ...change}); },
  get session() { return kept.read('session', sessionStorage) ?? kept.read('session'); },
  /** @param {object|null} session @param {boolean} [long] beyond the browser's window; by default as it is kept now */
  keep(session, long = kept.read('session') !== null) {
    kept.write('session', long ? session : null);
    kept.write('session', long ? null : session, sessionStorage);
  },
  device() {
    const id = kept.read('device') ?? crypto.randomUUID();
    kept.write('device', id);
    const {userAgentData: data, userAgent} = navigator;
    const platform = data?.platform || /Android|iPhone|iPad|Windows|Mac|Linux/.exec(userAgent)?.[0] || 'web';
    const browser = /Edg|Firefox|Chrome|Safari/.exec(userAgent)?.[0].replace('Edg', 'Edge') ?? 'Browser';
    return {device: {id, name: `${browser}, ${platform}`}, platform: 'web', appVersion: VERSION};
  },
};

export function dress() {
  const {theme} = kept.choices;
  document.documentElement.dataset.theme = theme;
}

/** Log on: the whole page. @param {{title: string, text: string, kind?: string, action?: any}|null} told what is to be said first */
export async function logOnPage(told = null) {
  document.title = `${t('log.on')} · OSCC`;
  app.replaceChildren(h('main', {class: 'boot'}, h('p', {class: 'muted'}, t('connecting'))));
  const answers = await Promise.allSettled([about({locale: language}), notices({locale: language})]);
  if (answers[0].status === 'rejected') return unreachable(told);
  new LogOnForm(answers[0].value, answers[1].value ?? [], told).show();
}

function unreachable(told) {
  const again = () => { clearTimeout(timer); removeEventListener('online', again); logOnPage(told); };
  const timer = setTimeout(again, 8000);
  addEventListener('online', again);
  const title = navigator.onLine ? t('unreachable.title') : t('offline.title');
  app.replaceChildren(h('main', {class: 'boot'}, icon('down', 'huge'), h('h1', {}, title), h('p', {class: 'muted'}, t('offline.text')),
    button(t('try.now'), again, 'primary')));
  say(title);
}

class LogOnForm {
  constructor(gateway, noticeList, told) {
    Object.assign(this, {gateway, noticeList, told});
    this.accepted = new Map();
    this.known = kept.read('login') ?? {};
    this.site = gateway.sites.find(({id}) => id === this.known.site) ?? gateway.sites[0];
    const offered = this.site?.applications ?? [];
    this.application = offered.includes(this.known.application) ? this.known.application : offered[0];
  }

  show() {
    const {site, known} = this;
    this.applications = h('fieldset', {class: 'segments'}, h('legend', {class: 'sr'}, t('application')));
    this.userName = this.input('user', {autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', value: known.user ?? '', required: true});
    this.password = this.input('password', {type: 'password', autocomplete: 'current-password', required: true});
    this.number = this.input('number', {type: 'tel', autocomplete: 'tel', inputmode: 'tel', value: known.numbers?.[0] ?? '', 'aria-describedby': 'own-number'});
    this.remember = this.check('remember', Boolean(known.user));
    this.stay = this.check('stay', kept.read('session') !== null);
    this.problem = h('div', {class: 'problem', role: 'alert', tabindex: '-1', hidden: true});
    this.numberPart = h('div', {class: 'stack'}, this.field('number', this.number), this.recent(),
      h('p', {class: 'hint', id: 'own-number'}, icon('phone'), h('span', {}, t('number.own'))));
    this.submit = h('button', {class: 'button primary wide', type: 'submit'}, t('log.on'));
    const form = h('form', {class: 'card stack', novalidate: true, onsubmit: (event) => { event.preventDefault(); this.send(false); }},
      this.applications, this.sites(), this.field('user', this.userName), this.field('password', this.password), this.numberPart,
      this.notices(), this.remember, this.stay, this.problem, this.submit);
    app.replaceChildren(h('main', {class: 'logon'},
      h('header', {class: 'brand'}, h('img', {src: 'icon.svg', alt: '', width: 48, height: 48}), h('div', {}, h('h1', {}, t('log.on')), h('p', {class: 'muted'}, site?.display_name ?? this.gateway.name)),
        h('button', {type: 'button', class: 'quiet square', 'aria-label': t('settings'), title: t('settings'), onclick: () => this.settings()}, icon('more'))),
      this.said(), form, this.foot()));
    this.choose(this.application);
    if (matchMedia('(hover: hover)').matches) (known.user ? this.password : this.userName).focus();
  }

  said() {
    const {told} = this;
    if (!told) return null;
    say(`${told.title} ${told.text ?? ''}`);
    return h('section', {class: `told ${told.kind ?? ''}`}, icon(told.kind === 'done' ? 'ok' : 'notice'),
      h('div', {}, h('h2', {}, told.title), told.text && h('p', {}, told.text), told.action));
  }

  input(name, properties) { return h('input', {id: `in-${name}`, name, type: 'text', ...properties}); }
  field(name, input) { return h('div', {class: 'field'}, h('label', {for: input.id}, t(`field.${name}`)), input); }
  check(name, on) {
    return h('label', {class: 'check'}, h('input', {type: 'checkbox', name, checked: on}), h('span', {}, t(`field.${name}`), h('small', {}, t(`field.${name}.hint`))));
  }

  sites() {
    const {sites} = this.gateway;
    if (sites.length < 2) return null;
    const select = h('select', {id: 'in-site', name: 'site', onchange: () => {
      this.site = sites.find(({id}) => id === select.value);
      this.choose(this.site.applications.includes(this.application) ? this.application : this.site.applications[0]);
    }}, [...sites].sort((a, b) => byName(a.display_name, b.display_name)).map(({id, display_name: name}) => h('option', {value: id}, name)));
    select.value = this.site.id;
    return this.field('site', select);
  }

  /** Turn the form into that of one of the site's applications. */
  choose(application) {
    this.application = application;
    const [legend] = this.applications.children;
    this.applications.replaceChildren(legend, ...this.site.applications.map((each) => h('label', {},
      h('input', {type: 'radio', name: 'application', value: each, checked: each === application, onchange: () => this.choose(each)}),
      h('span', {}, h('strong', {}, t(`app.${each}`)), h('small', {}, t(`app.${each}.for`))))));
    shown(this.numberPart, application === 'remote_assistant');
    this.applications.querySelector(':checked')?.focus({preventScroll: true});
  }

  recent() {
    const {numbers = []} = this.known;
    if (numbers.length < 1) return null;
    return h('div', {class: 'chips', role: 'group', 'aria-label': t('number.recent')},
      numbers.map((number) => h('button', {type: 'button', class: 'chip', onclick: () => { this.number.value = number; }}, number)),
      h('button', {type: 'button', class: 'chip quiet', onclick: (event) => {
        kept.write('login', {...this.known, numbers: []});
        this.known.numbers = [];
        this.number.value = '';
        event.currentTarget.parentElement.remove();
      }}, t('number.forget')));
  }

  notices() {
    if (!this.noticeList.length) return null;
    return h('section', {class: 'notices', 'aria-label': t('notices')}, this.noticeList.map((notice) => noticeCard(notice,
      h('label', {class: 'check'}, h('input', {type: 'checkbox', onchange: ({currentTarget}) => {
        if (currentTarget.checked) this.accepted.set(notice.id, {id: notice.id, version: notice.version});
        else this.accepted.delete(notice.id);
      }}), h('span', {}, t(notice.must_acknowledge ? 'notice.accept.must' : 'notice.accept'))))));
  }

  foot() {
    const {trusted_transport: trusted, privacy = {}, name, version} = this.gateway;
    return h('footer', {class: 'foot'},
      h('p', {class: trusted ? 'safe' : 'unsafe'}, icon(trusted ? 'lock' : 'unlock'), h('span', {}, t(trusted ? 'transport.trusted' : 'transport.insecure'))),
      h('p', {}, safeLink(privacy.statement_url, t('privacy.statement')), button(t('privacy.inventory'), () => this.more('inventory'), 'link'), privacy.contact && h('span', {}, t('privacy.contact', privacy.contact))),
      h('p', {class: 'muted'}, `${name} ${version}`));
  }

  settings() { return this.more('choices', {kept, dress, again: () => logOnPage(this.told)}); }
  async more(what, ...rest) { (await import('./more.js'))[what](...rest); }

  wrong(text, field = null) {
    this.problem.replaceChildren(icon('attention'), h('span', {}, text));
    shown(this.problem, true);
    for (const input of [this.userName, this.password, this.number]) input.toggleAttribute('aria-invalid', input === field);
    (field ?? this.problem).focus();
  }

  async send(takeover) {
    const number = this.application === 'remote_assistant' ? this.number.value.trim() : null;
    const missing = [this.userName, this.password, number === null ? null : this.number].find((input) => input && !input.value.trim());
    if (missing) return this.wrong(t('missing', t(`field.${missing.name}`)), missing);
    shown(this.problem, false);
    this.submit.disabled = true;
    this.submit.replaceChildren(t('logging.on'));
    try {
      await this.enter(await logOn({
        site: this.site.id, application: this.application, user: this.userName.value.trim(), password: this.password.value,
        remoteNumber: number, takeover, notices: [...this.accepted.values()], locale: language, ...kept.device(),
      }));
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      this.refused(error);
    } finally {
      this.submit.disabled = false;
      this.submit.replaceChildren(t('log.on'));
    }
  }

  refused(error) {
    if (error.code === 'already_logged_on') return this.offerTakeover(error.details);
    if (error.code === 'notice_must_be_acknowledged') this.insist(error.details.notices ?? []);
    else this.wrong(refusal(error), error.code.startsWith('remote_number') ? this.number : error.code === 'invalid_credentials' ? this.password : null);
  }

  /** Notices that came since the page was shown. */
  insist(missing) {
    const old = document.querySelector('.notices');
    this.noticeList = [...this.noticeList.filter(({id}) => !missing.some((each) => each.id === id)), ...missing];
    this.accepted.clear();
    const made = this.notices();
    if (old) old.replaceWith(made); else this.remember.before(made);
    this.wrong(t('error.notice_must_be_acknowledged'));
  }

  offerTakeover({where, since_ms: since}) {
    dialog({
      title: t('takeover.title'),
      body: [h('p', {}, t('takeover.text', where ?? t('takeover.elsewhere'), day(since))), h('p', {class: 'muted'}, t(`takeover.${this.application}`))],
      actions: [{label: t('cancel')}, {label: t('takeover.do'), kind: 'primary', run: () => { this.send(true); }}],
    });
  }

  async enter(session) {
    const {value: user} = this.userName;
    const remembered = this.remember.querySelector('input').checked;
    const numbers = [...new Set([this.number.value.trim(), ...(this.known.numbers ?? [])])].filter(Boolean).slice(0, NUMBERS_KEPT);
    kept.write('login', remembered ? {site: this.site.id, application: this.application, user: user.trim(), numbers} : null);
    kept.keep({...session.kept(), user: session.user}, this.stay.querySelector('input').checked);
    this.password.value = '';
    await work(session, this.gateway);
  }
}

/** A notice as it is read before and after the log-on. */
export function noticeCard(notice, ...acts) {
  const due = notice.effective_at_ms;
  return h('article', {class: `notice ${notice.category}`}, icon('notice'), h('div', {class: 'stack'},
    h('h3', {}, notice.title), h('p', {}, notice.summary),
    h('p', {class: 'muted'}, [tOr(`notice.${notice.category}`, notice.category), due && t(due > Date.now() ? 'notice.from' : 'notice.since', day(due))].filter(Boolean).join(' · ')),
    safeLink(notice.link, t('notice.read')), acts));
}

/** A link to somebody else's page, if it is one. */
export function safeLink(url, label) {
  return /^https?:\/\//i.test(url ?? '') ? h('a', {href: url, target: '_blank', rel: 'noopener noreferrer'}, label) : null;
}

async function work(session, gateway) {
  const {open} = await import('./shell.js');
  open(app, session, gateway, {kept, dress, logOnPage, noticeCard});
}

async function start() {
  dress();
  await speak(preferred(kept.choices.language));
  const known = kept.session;
  if (!known) await logOnPage();
  else await resume(known);
  if ('serviceWorker' in navigator && policy) setTimeout(late, 500);
}

/** Go on where the device was. */
async function resume(known) {
  const session = adopt(known);
  session.user ??= known.user ?? null;
  if (known.leaving) return (await import('./shell.js')).leave(app, session, {kept, logOnPage});
  const gateway = await about({locale: language}).catch(() => ({sites: [], capabilities: null, privacy: {}}));
  return work(session, gateway);
}

/** What can wait until the page is there. */
async function late() {
  document.head.append(h('link', {rel: 'manifest', href: 'app.webmanifest'}));
  const found = await navigator.serviceWorker.register(policy.createScriptURL('sw.js'), {scope: './'}).catch(() => null);
  found?.addEventListener('updatefound', () => found.installing?.addEventListener('statechange', ({target}) => {
    if (target.state === 'installed' && navigator.serviceWorker.controller) dispatchEvent(new Event('oscc-new-version'));
  }));
}

start();
