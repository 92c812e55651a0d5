/** Figures in the view of one queue or team, by field. Written by docs/_generate/fields.py. */
export const FIGURES = {
  queue: [
    ['received', 'integer', {en: 'Received', de: 'Eingegangen'}],
    ['answered', 'integer', {en: 'Answered', de: 'Angenommen'}],
    ['abandoned', 'integer', {en: 'Abandoned', de: 'Verloren (Abbrüche)'}],
    ['average_wait_s', 'seconds', {en: 'Average wait', de: 'Mittlere Wartezeit'}],
    ['maximum_wait_s', 'seconds', {en: 'Longest wait today', de: 'Längste heute'}],
  ],
  group: [
    ['users_handling_routed', 'integer', {en: 'Handling routed', de: 'Mit verteiltem Kontakt'}],
    ['users_handling_direct', 'integer', {en: 'Handling direct', de: 'Mit direktem Kontakt'}],
    ['calls_waiting', 'integer', {en: 'Calls waiting', de: 'Wartende Anrufe'}],
  ],
};
