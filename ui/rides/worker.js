// A worker of the ride demo that runs in the page, over the same HTTP API as any other: for when no other is there.
import { acquireNext, actOnEvent } from '../api.js';
import { createStore } from '../store.js';
import { FLOW, STEPS, stepNumber } from './steps.js';

const NAME = 'this page';
const SECONDS = [0.8, 1.6, 0.7, 2.4, 0.6, 0.9];
const FAILURES = ['no driver in reach', 'driver unreachable', 'passenger not found', null, null, 'card declined'];
const CHANCE = 0.08;
const AT_ONCE = 4;
const WAIT = 10;

export const working = createStore(false);
let controller = null;

const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

async function workOn(event) {
  const n = stepNumber(event.event_type);
  const { permit, payload, event_id } = event;
  await pause(SECONDS[n] * (0.7 + 0.6 * Math.random()));
  if (FAILURES[n] && Math.random() < CHANCE) await actOnEvent(event_id, 'failure', { permit, error_message: FAILURES[n] });
  else await actOnEvent(event_id, 'success', { permit, spinoffs: n + 1 < STEPS.length ? [{ event_type: STEPS[n + 1].type, payload }] : [] });
}

async function serve(signal) {
  while (!signal.aborted) {
    try {
      const { events } = await acquireNext(FLOW, { worker: NAME, wait: WAIT, event_types: STEPS.map(({ type }) => type) });
      for (const event of events) await workOn(event);
    } catch (problem) {
      if (problem.sqlstate !== 'EQ004') await pause(2);      // lost permits are another worker's
    }
  }
}

export function setWorking(on) {
  controller?.abort();
  controller = on ? new AbortController() : null;
  if (on) for (let n = 0; n < AT_ONCE; n++) serve(controller.signal);
  working.set(on);
}
