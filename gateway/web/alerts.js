/** Alerts while the page is open: tone, vibration, notification. No push service is used. */
import {h, say, t, toast} from './ui.js';

const BUZZ = {act: [200, 100, 200], note: [120]};
const TONE_HZ = {act: 880, note: 660};
const TONE_S = 0.25;
const APART_MS = 5000;

export class Alerts {
  /** @param {import('./shell.js').Shell} shell */
  constructor(shell) {
    this.shell = shell;
    this.critical = 0;
    this.last = -Infinity;
  }

  /** A queue has got worse. @param {boolean} act whether it needs somebody at once */
  queue(act, text) {
    say(text);
    if (act) this.raise('act', text);
  }

  /** Alert the agent: something happened to them, or is about to. */
  agent(text) {
    toast(text);
    this.raise('note', text);
  }

  /** Give an alert; several of one moment are one. */
  raise(kind, text) {
    const now = performance.now();
    const {choices} = this.shell;
    if (document.hidden) this.notify(text);
    if (now - this.last < APART_MS) return;
    this.last = now;
    navigator.vibrate?.(BUZZ[kind]);
    if (choices.tone) tone(TONE_HZ[kind]);
  }

  /** Show a notification, on a desk and from a page that stays connected. It names a queue and figures, never a person. */
  notify(text) {
    if (!this.shell.stays || globalThis.Notification?.permission !== 'granted') return;
    let note;
    try {
      note = new Notification(this.shell.titled, {body: text, tag: 'oscc', icon: 'icon-192.png'});
    } catch {
      return; // browsers of phones and tablets have the name only
    }
    note.addEventListener('click', () => {
      focus();
      note.close();
    });
  }

  /** Show how many queues need somebody, in the title and on the icon of an installed app. */
  count(critical) {
    if (critical === this.critical) return;
    this.critical = critical;
    this.title();
    if (critical) navigator.setAppBadge?.(critical).catch(() => {});
    else navigator.clearAppBadge?.().catch(() => {});
  }

  title() {
    const {critical, shell} = this;
    document.title = critical ? `(${critical}) ${shell.titled}` : shell.titled;
  }
}

/** The only audio context of the page: browsers allow few. */
let sound = null;

/** Play a short tone. Browsers allow sound only after the person has touched the page. */
export function tone(hz = TONE_HZ.note) {
  sound ??= new AudioContext();
  const context = sound;
  context.resume().catch(() => {});
  if (context.state !== 'running' && !navigator.userActivation?.isActive) return;
  const [source, volume] = [context.createOscillator(), context.createGain()];
  source.frequency.value = hz;
  volume.gain.setValueAtTime(0.2, context.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, context.currentTime + TONE_S);
  source.connect(volume).connect(context.destination);
  source.start();
  source.stop(context.currentTime + TONE_S);
}

/** The settings of alerts. @param {import('./shell.js').Shell} shell @param {boolean} desk */
export function alertRows(shell, desk) {
  const box = (name, changed) => {
    const input = h('input', {
      type: 'checkbox',
      name,
      checked: shell.choices[name] === true,
      onchange: () => {
        shell.choose({[name]: input.checked});
        changed(input.checked, input);
      },
    });
    return h(
      'label',
      {class: 'check'},
      input,
      h('span', {}, t(`alert.${name}`), h('small', {}, t(`alert.${name}.hint`))),
    );
  };
  /** Request the permission to notify; without it staying connected is of no use. */
  const stay = async (on, input) => {
    if (!on || (await globalThis.Notification?.requestPermission()) === 'granted') return;
    input.checked = false;
    shell.choose({stay: false});
  };
  return [box('tone', (on) => on && tone()), desk ? box('stay', stay) : null];
}
