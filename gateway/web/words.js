/** How is it said? Texts of the chosen language, numbers, instants and durations. */

export const LANGUAGES = ['en', 'de'];
/** What nobody knows. It is never told as 0. */
export const NONE = '–';

let texts = {};
let numbers = new Intl.NumberFormat('en');
let instants = new Intl.DateTimeFormat('en');
let days = instants;
export let language = 'en';

/** The language to speak: the one chosen, else the browser's, else English. @param {string|null} chosen */
export function preferred(chosen) {
  const wished = [chosen, ...(navigator.languages ?? [])].filter(Boolean).map((tag) => tag.slice(0, 2));
  return wished.find((tag) => LANGUAGES.includes(tag)) ?? 'en';
}

/** Speak a language from now on. @param {string} wished */
export async function speak(wished) {
  texts = (await import(`./strings.${wished}.js`)).default;
  language = wished;
  const locale =
    navigator.languages?.find((tag) => tag.startsWith(wished)) ?? (wished === 'en' ? 'en-GB' : wished);
  numbers = new Intl.NumberFormat(locale, {maximumFractionDigits: 1});
  instants = new Intl.DateTimeFormat(locale, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
  days = new Intl.DateTimeFormat(locale, {dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23'});
  document.documentElement.lang = wished;
}

/** The text named so, with its places filled. Names are checked by a test. @param {string} name */
export function t(name, ...values) {
  const text = texts[name];
  if (typeof text === 'function') return text(...values);
  return text === undefined ? name : text.replace(/\{(\d)\}/g, (_, place) => values[place] ?? NONE);
}

/** Whether there is such a text. */
export const has = (name) => texts[name] !== undefined;

/** The text named so, or another where there is none. */
export const tOr = (name, other) => (has(name) ? t(name) : other);

export const num = (value) => (value === null || value === undefined ? NONE : numbers.format(value));
export const whole = (value) =>
  value === null || value === undefined ? NONE : numbers.format(Math.round(value));
export const pct = (value) => (value === null || value === undefined ? NONE : `${whole(value)} %`);
export const clock = (ms) => (ms === null || ms === undefined ? NONE : instants.format(ms));
export const day = (ms) => (ms === null || ms === undefined ? NONE : days.format(ms));

/** A duration as 1:05 or 2:01:05. @param {number|null|undefined} ms */
export function span(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return NONE;
  const all = Math.max(0, Math.floor(ms / 1000));
  const seconds = String(all % 60).padStart(2, '0');
  const minutes = Math.floor(all / 60) % 60;
  const hours = Math.floor(all / 3600);
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${seconds}` : `${minutes}:${seconds}`;
}

/** How long ago; unknown when either is. */
export const since = (ms, now) => (ms === null || ms === undefined || now === null ? NONE : span(now - ms));

/** A name that a program made, for people: ServiceLevelThreshold → Service level threshold. */
export function spaced(name) {
  const words = name.replace(/_/g, ' ').replace(/([a-z])([A-Z])/g, (_, a, b) => `${a} ${b.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A refusal in words: ours, else the gateway's. @param {import('./oscc-client.js').GatewayError|null} */
export function refusal(error) {
  if (!error) return t('error.unknown');
  const more = error.details ?? {};
  if (error.unreachable || more.unreachable) return t('error.unreachable');
  const text = has(`error.${error.code}`) ? t(`error.${error.code}`, more) : error.message || error.code;
  return error.retryAfterS ? `${text} ${t('again.in', Math.ceil(error.retryAfterS))}` : text;
}

/** Compare two names as a person of this language would. */
export const byName = (a, b) => a.localeCompare(b, language, {numeric: true});
