// The keyboard: one key each, and "g" for going before the second one. Not while something is typed.
import { go } from './router.js';
import { nextTheme } from './settings.js';
import { createEmitter } from './emitter.js';

// Topics: "refresh", "help".
const emitter = createEmitter();
export const on = emitter.on;
export const refresh = () => emitter.emit('refresh');

export const GO = { d: '#/', f: '#/flows', e: '#/events', t: '#/event-types', x: '#/errors', s: '#/schedules', r: '#/ride' };
export const KEYS = [
  ['/', 'search events'],
  ['r', 'read again what is shown'],
  ['t', 'theme: system, light, dark'],
  ['?', 'this list'],
  ['d', 'dashboard'],
  ['f', 'flows'],
  ['e', 'events'],
  ['g d, g f, g e', 'the same'],
  ['g t', 'event types'],
  ['g x', 'errors'],
  ['g s', 'schedules'],
  ['g r', 'ride demo'],
];

function search() {
  const input = document.querySelector('[data-search]');
  if (input) input.focus();
  else go('#/events?focus=search');
}

const SINGLE = {
  '/': search,
  r: refresh,
  t: nextTheme,
  '?': () => emitter.emit('help'),
  d: () => go(GO.d),
  f: () => go(GO.f),
  e: () => go(GO.e),
};

let goingUntil = 0;

function isTyping(target) {
  return target.closest('input, textarea, select, [contenteditable]') !== null;
}

export function startKeys() {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector('dialog[open]')) return;
    const going = Date.now() < goingUntil;
    goingUntil = 0;
    if (event.key === 'g') goingUntil = Date.now() + 1500;
    else if (going && GO[event.key]) go(GO[event.key]);
    else if (SINGLE[event.key]) SINGLE[event.key]();
    else return;
    event.preventDefault();
  });
}
