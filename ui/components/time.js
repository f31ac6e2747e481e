import { html, useEffect, useState } from '../vendor/preact.js';
import { ago, dateTime } from '../format.js';
import { createEmitter } from '../emitter.js';

const ticks = createEmitter();
setInterval(() => document.hidden || ticks.emit('tick'), 1000);

// The time now, to the second.
export function useNow() {
  const [now, setNow] = useState(Date.now());
  useEffect(() => ticks.on('tick', () => setNow(Date.now())), []);
  return now;
}

export function Ago({ time }) {
  const now = useNow();
  if (!time) return html`<span class="dim">–</span>`;
  return html`<time datetime=${time} title=${dateTime(time)}>${ago(time, now)}</time>`;
}
