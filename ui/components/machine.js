import { html, useEffect, useRef, useState } from '../vendor/preact.js';
import { number } from '../format.js';
import { link } from '../router.js';
import { reducesMotion } from '../settings.js';
import { STATES } from '../states.js';
import { on as onMove } from '../stats.js';
import { StateShape } from './state.js';
import { dotsOn } from './dots.js';

// The state machine as a picture, after the table in src/rules/transition.c. A way: from, to, and for each layout the sides
// it leaves and enters (t, r, b, l) and how far from the middle of the side.
const LAYOUTS = {
  wide: {
    width: 984, height: 356, box: [180, 68], curve: [30, 60], names: 'name',
    at: {
      AWAITING_PROCESSING: [44, 100], DISPATCHED: [296, 100], BEING_PROCESSED: [548, 100], SUSPENDED: [548, 232],
      SUCCEEDED: [796, 12], FAILED: [796, 100], EXPIRED: [796, 188], CANCELED: [796, 276],
    },
  },
  narrow: {
    width: 360, height: 690, box: [142, 64], curve: [46, 0], names: 'short',
    at: {
      AWAITING_PROCESSING: [96, 28], DISPATCHED: [96, 142], BEING_PROCESSED: [96, 256], SUSPENDED: [178, 376],
      SUCCEEDED: [12, 376], FAILED: [12, 488], EXPIRED: [178, 488], CANCELED: [96, 600],
    },
  },
};
const WAYS = [
  ['AWAITING_PROCESSING', 'DISPATCHED', { wide: 'r0 l0', narrow: 'b0 t0' }],
  ['DISPATCHED', 'AWAITING_PROCESSING', { wide: 'b-40 b40', narrow: 'l-10 l10' }],
  ['DISPATCHED', 'BEING_PROCESSED', { wide: 'r0 l0', narrow: 'b0 t0' }],
  ['AWAITING_PROCESSING', 'BEING_PROCESSED', { wide: 'b62 b-62', narrow: 'l0 l-10' }],
  ['BEING_PROCESSED', 'AWAITING_PROCESSING', { wide: 't0 t0', narrow: 'r0 r10' }],
  ['BEING_PROCESSED', 'SUCCEEDED', { wide: 'r-16 l0', narrow: 'b-44 t10' }],
  ['BEING_PROCESSED', 'FAILED', { wide: 'r0 l0', narrow: 'b-1 r0' }],
  ['BEING_PROCESSED', 'SUSPENDED', { wide: 'b0 t0', narrow: 'b44 t-10' }],
  ['SUSPENDED', 'AWAITING_PROCESSING', { wide: 'l0 b0', narrow: 'r0 r-8' }],
  ['SUSPENDED', 'EXPIRED', { wide: 'r-10 l10', narrow: 'b0 t0' }],
  ['AWAITING_PROCESSING', 'EXPIRED', { wide: 'b-40 l16', narrow: 'r-16 r0' }],
  ['DISPATCHED', 'EXPIRED', { wide: 'b20 l20', narrow: 'r0 r10' }],
  ['AWAITING_PROCESSING', 'CANCELED', { wide: 'b-62 l10', narrow: 'l-10 l0' }],
  ['DISPATCHED', 'CANCELED', { wide: 'b0 l0', narrow: 'l0 l-10' }],
  ['BEING_PROCESSED', 'CANCELED', { wide: 'b60 l-18', narrow: 'l16 l10' }],
  ['SUSPENDED', 'CANCELED', { wide: 'r10 l-10', narrow: 'l20 r0' }],
];
// These are drawn before anything goes that way; the others appear when it does.
const MAIN_WAYS = new Set(['AWAITING_PROCESSING>DISPATCHED', 'DISPATCHED>BEING_PROCESSED', 'BEING_PROCESSED>SUCCEEDED', 'BEING_PROCESSED>FAILED', 'BEING_PROCESSED>AWAITING_PROCESSING',
  'BEING_PROCESSED>SUSPENDED', 'SUSPENDED>AWAITING_PROCESSING', 'SUSPENDED>EXPIRED']);
// Where an event comes from that the page has not seen before.
const USUAL_FROM = { DISPATCHED: 'AWAITING_PROCESSING', BEING_PROCESSED: 'DISPATCHED', SUCCEEDED: 'BEING_PROCESSED', FAILED: 'BEING_PROCESSED', SUSPENDED: 'BEING_PROCESSED', EXPIRED: 'SUSPENDED', CANCELED: 'BEING_PROCESSED' };
const NORMAL = { t: [0, -1], r: [1, 0], b: [0, 1], l: [-1, 0] };

function anchor(layout, status, spec) {
  const [x, y] = layout.at[status];
  const [width, height] = layout.box;
  const [dx, dy] = NORMAL[spec[0]];
  const shift = Number(spec.slice(1));
  return { x: x + width / 2 + (dx * width) / 2 + (dx === 0 ? shift : 0), y: y + height / 2 + (dy * height) / 2 + (dy === 0 ? shift : 0), dx, dy };
}

function drawWay(layout, name, [from, to, sides]) {
  const [leave, enter] = sides[name].split(' ');
  const a = anchor(layout, from, leave);
  const b = anchor(layout, to, enter);
  const pull = a.dx === -b.dx && a.dy === -b.dy
    ? Math.max(20, (a.dx ? Math.abs(b.x - a.x) : Math.abs(b.y - a.y)) / 2)
    : layout.curve[0] + Math.min(layout.curve[1], Math.hypot(b.x - a.x, b.y - a.y) / 6);
  return `M${a.x} ${a.y}C${a.x + a.dx * pull} ${a.y + a.dy * pull} ${b.x + b.dx * pull} ${b.y + b.dy * pull} ${b.x} ${b.y}`;
}

function useNarrow() {
  const query = matchMedia('(max-width: 640px)');
  const [narrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const change = () => setNarrow(query.matches);
    query.addEventListener('change', change);
    return () => query.removeEventListener('change', change);
  }, []);
  return narrow;
}

function Node({ layout, status, count, note, lit }) {
  const [x, y] = layout.at[status];
  const [width, height] = layout.box;
  const { [layout.names]: name, css } = STATES[status];
  return html`<a class="node ${css}${lit ? ' node-lit' : ''}" href=${link('events', null, { q: `status:${status}` })}>
    <rect class="node-box" x=${x} y=${y} width=${width} height=${height} rx="10" />
    <svg x=${x + 12} y=${y + 12} width="16" height="16" overflow="visible"><${StateShape} status=${status} /></svg>
    <text class="node-name" x=${x + 34} y=${y + 25}>${name}</text>
    <text class="node-count" x=${x + 12} y=${y + 54}>${count === undefined ? '–' : number(count)}</text>
    ${note && html`<text class="node-note" x=${x + width - 12} y=${y + 54}>${note}</text>`}
  </a>`;
}

// counts: status -> number; notes: status -> what it counts, where that is not "now".
export function Machine({ counts, notes }) {
  const name = useNarrow() ? 'narrow' : 'wide';
  const layout = LAYOUTS[name];
  const svg = useRef();
  const [lit, setLit] = useState({});

  useEffect(() => {
    const timers = new Map();
    const dots = dotsOn(svg.current.querySelector('.dots'));
    const shine = (status) => {
      clearTimeout(timers.get(status));
      setLit((was) => (was[status] ? was : { ...was, [status]: true }));
      timers.set(status, setTimeout(() => setLit((was) => ({ ...was, [status]: false })), 700));
    };
    const end = onMove('move', ({ from, event }) => {
      from ??= USUAL_FROM[event.status] ?? null;
      const way = svg.current.querySelector(`[data-way="${from ?? 'NONE'}>${event.status}"]`);
      way?.classList.add('way-used');
      if (way && !reducesMotion()) dots.send(way, STATES[event.status].css, () => shine(event.status));
      else shine(event.status);
    });
    return () => { end(); dots.end(); timers.forEach(clearTimeout); };
  }, [name]);

  const entry = name === 'wide' ? `M4 ${layout.at.AWAITING_PROCESSING[1] + 34}h34` : 'M167 2v24';
  return html`<svg class="machine machine-${name}" ref=${svg} viewBox="0 0 ${layout.width} ${layout.height}" role="group" aria-label="The states of events and how many are in each">
    <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path class="arrow" d="M1 1 7 4 1 7" /></marker></defs>
    <g class="ways" key=${name}>
      <path class="way way-main" data-way="NONE>AWAITING_PROCESSING" d=${entry} marker-end="url(#arrow)" />
      ${WAYS.map((way) => html`<path key=${way[0] + way[1]} class=${MAIN_WAYS.has(`${way[0]}>${way[1]}`) ? 'way way-main' : 'way'} data-way=${`${way[0]}>${way[1]}`} d=${drawWay(layout, name, way)} marker-end="url(#arrow)" />`)}
    </g>
    ${Object.keys(STATES).map((status) => html`<${Node} key=${status} layout=${layout} status=${status} count=${counts[status]} note=${notes[status]} lit=${lit[status]} />`)}
    <g class="dots" aria-hidden="true"></g>
  </svg>`;
}
