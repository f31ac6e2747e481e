// What the user chose, kept in this browser.
import { createStore } from './store.js';

const THEMES = ['system', 'light', 'dark'];

function read(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

function keep(key, value) {
  try { localStorage.setItem(key, value); } catch { /* no storage: for this visit only */ }
}

export const theme = createStore(THEMES.includes(read('evq.theme')) ? read('evq.theme') : 'system');
export const readOnly = createStore(read('evq.read-only') === 'yes');

theme.on((value) => {
  keep('evq.theme', value);
  if (value === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
});
readOnly.on((value) => keep('evq.read-only', value ? 'yes' : 'no'));

export function nextTheme() {
  theme.set(THEMES[(THEMES.indexOf(theme.get()) + 1) % THEMES.length]);
}

export const reducesMotion = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
