// What the live stream has told since the page was opened: rates, waits, endings, and the newest changes.
import { createEmitter } from './emitter.js';
import { on as onLive } from './live.js';
import { STATES } from './states.js';

const SECONDS = 300;                // how far back charts go
const FEED = 40;
const MOST_EVENTS = 5000;           // whose last state is remembered

export const openedAt = Date.now();
export const ended = Object.fromEntries(Object.keys(STATES).filter((status) => STATES[status].final).map((status) => [status, 0]));
export const feed = [];

// Topic "move": {from, event}; from is null where the page has not seen the event before.
const emitter = createEmitter();
export const on = emitter.on;

const known = new Map();            // event id -> {status, at, attempts_used}
const buckets = new Map();          // second -> {published, succeeded, unsuccessful, changes}
const waits = [];                   // {at, milliseconds}
const works = [];
let skippedChanges = 0;

function bucket() {
  const second = Math.floor(Date.now() / 1000);
  if (!buckets.has(second)) {
    buckets.set(second, { published: 0, succeeded: 0, unsuccessful: 0, changes: 0 });
    for (const old of buckets.keys()) if (old < second - SECONDS) buckets.delete(old);
  }
  return buckets.get(second);
}

function sample(list, milliseconds) {
  const at = Date.now();
  list.push({ at, milliseconds: Math.max(0, milliseconds) });
  while (list.length > 5000 || (list.length && list[0].at < at - SECONDS * 1000)) list.shift();
}

function remember(event, at) {
  if (STATES[event.status].final) known.delete(event.event_id);
  else known.set(event.event_id, { status: event.status, at, attempts_used: event.attempts_used });
  if (known.size > MOST_EVENTS) known.delete(known.keys().next().value);
}

function take(event) {
  const before = known.get(event.event_id) ?? null;
  const at = Date.parse(event.state_since);
  const now = bucket();

  now.changes++;
  if (event.status === 'AWAITING_PROCESSING' && before === null && event.attempts_used === 0) now.published++;
  if (event.status === 'SUCCEEDED') now.succeeded++;
  else if (STATES[event.status].final) now.unsuccessful++;
  if (STATES[event.status].final) ended[event.status]++;
  if (event.status === 'BEING_PROCESSED' && before?.status === 'DISPATCHED') sample(waits, at - before.at);
  if (before?.status === 'BEING_PROCESSED') sample(works, at - before.at);
  remember(event, at);
  feed.unshift({ ...event, from: before?.status ?? null, retried: event.status === 'AWAITING_PROCESSING' && before !== null && event.attempts_used > before.attempts_used });
  feed.length = Math.min(feed.length, FEED);
  emitter.emit('move', { from: before?.status ?? null, event });
}

export function startStats() {
  onLive('change', take);
  onLive('skipped', (count) => { skippedChanges += count; bucket().changes += count; });
}

export const skipped = () => skippedChanges;

// Columns of uPlot: seconds, published, succeeded, unsuccessful; of the last minutes.
export function rates() {
  const end = Math.floor(Date.now() / 1000);
  const columns = [[], [], [], []];
  for (let second = end - SECONDS + 1; second <= end; second++) {
    const { published = 0, succeeded = 0, unsuccessful = 0 } = buckets.get(second) ?? {};
    columns[0].push(second);
    columns[1].push(published);
    columns[2].push(succeeded);
    columns[3].push(unsuccessful);
  }
  return columns;
}

// Per second, over the last few seconds that are over.
export function rateOf(name, over = 10) {
  const now = Math.floor(Date.now() / 1000);
  const since = Math.max(now - over, Math.floor(openedAt / 1000));
  let sum = 0;
  for (let second = since; second < now; second++) sum += buckets.get(second)?.[name] ?? 0;
  return now > since ? sum / (now - since) : 0;
}

function percentiles(list) {
  if (list.length === 0) return { count: 0, p50: null, p95: null };
  const sorted = list.map((one) => one.milliseconds).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] / 1000;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95) };
}

export const waitTimes = () => percentiles(waits);
export const workTimes = () => percentiles(works);
