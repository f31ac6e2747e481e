// Events that somebody works on by hand in this page: acquired here, not reported yet.
import { acquireNext, actOnEvent } from './api.js';
import { on as onLive } from './live.js';
import { createStore } from './store.js';

const WORKER = 'web UI';

export const held = createStore([]);

const drop = (id) => held.set(held.get().filter(({ event_id }) => event_id !== id));
const add = (event) => held.set([event, ...held.get().filter(({ event_id }) => event_id !== event.event_id)]);

// Resolve to whether there was an event to be had.
export async function acquireFromFlow(flow) {
  const { events } = await acquireNext(flow, { worker: WORKER });
  events.forEach(add);
  return events.length > 0;
}

export async function acquireEvent(id) {
  const answer = await actOnEvent(id, 'acquire', { worker: WORKER });
  if (answer.acquired) add(answer);
  return answer.acquired;
}

// success, failure, snooze, suspend, release: with the permit, and then it is no longer ours.
export async function report(event, verb, body = {}) {
  try {
    await actOnEvent(event.event_id, verb, { permit: event.permit, ...body });
  } catch (problem) {
    if (problem.sqlstate === 'EQ004' || problem.sqlstate === 'EQ002') drop(event.event_id);
    throw problem;
  }
  drop(event.event_id);
}

export async function prolong(event) {
  const answer = await actOnEvent(event.event_id, 'heartbeat', { permit: event.permit });
  if (answer.held) add({ ...event, attempt_due_at: answer.attempt_due_at });
  else drop(event.event_id);
  return answer.held;
}

// Canceled, or its time was over: whatever moves it elsewhere takes the permit.
onLive('change', ({ event_id, status }) => status !== 'BEING_PROCESSED' && drop(event_id));
