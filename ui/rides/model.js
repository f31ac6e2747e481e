// The rides that the page knows: from the list of events, and from then on from the live stream.
import { get } from '../api.js';
import { on as onLive } from '../live.js';
import { createStore } from '../store.js';
import { STATES } from '../states.js';
import { PLACES, usualPlaces } from './city.js';
import { FLOW, STEPS, stepNumber } from './steps.js';

const MOST = 400;

const rides = new Map();            // flow_id -> ride
const asked = new Set();            // ids of events whose payload was asked for
export const version = createStore(0);
let scheduled = false;

function tell() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; version.set(version.get() + 1); });
}

function rideOf(flow_id) {
  let ride = rides.get(flow_id);
  if (!ride) {
    ride = { flow_id, ...usualPlaces(flow_id), passenger: flow_id, fare: null, steps: {}, log: [], requestedAt: Infinity };
    rides.set(flow_id, ride);
    if (rides.size > MOST) rides.delete([...rides.values()].find((one) => outcomeOf(one))?.flow_id ?? rides.keys().next().value);
  }
  return ride;
}

export function describe(flow_id, { passenger, fare, from, to } = {}) {
  const ride = rideOf(flow_id);
  if (typeof passenger === 'string') ride.passenger = passenger;
  if (typeof fare === 'number') ride.fare = fare;
  if (PLACES[from] && PLACES[to] && from !== to) Object.assign(ride, { from, to });
  ride.isDescribed = true;
  tell();
}

const SAID = {
  AWAITING_PROCESSING: 'published', DISPATCHED: 'offered to the workers', BEING_PROCESSED: 'acquired', SUSPENDED: 'suspended',
  SUCCEEDED: 'succeeded', FAILED: 'failed for good', EXPIRED: 'expired', CANCELED: 'canceled',
};

function write(ride, event, before) {
  const retried = event.status === 'AWAITING_PROCESSING' && event.attempts_used > 0;
  const entry = { at: event.state_since, type: event.event_type, status: event.status, text: retried ? 'attempt failed, tried again later' : before && event.status === 'AWAITING_PROCESSING' ? 'waits again' : SAID[event.status] };
  ride.log.push(entry);
  if (!retried && event.status !== 'FAILED') return;
  get(`/api/events/${event.event_id}`).then(({ errors, attempt_scheduled_at }) => {
    entry.text = `${errors.at(-1)?.error_message ?? 'failed'}${retried ? ', next attempt' : ''}`;
    if (retried) entry.next_at = attempt_scheduled_at;
    tell();
  }, () => {});
}

function apply(event, isNews) {
  if (event.flow_type !== FLOW || stepNumber(event.event_type) < 0) return;
  const ride = rideOf(event.flow_id);
  const before = ride.steps[event.event_type];
  if (before && before.event_id === event.event_id && before.state_since >= event.state_since) return;
  ride.steps[event.event_type] = { ...before, ...event };
  ride.requestedAt = Math.min(ride.requestedAt, Date.parse(event.published_at ?? event.state_since));
  ride.changedAt = Date.parse(event.state_since);
  if (isNews) write(ride, event, before);
  tell();
}

export function outcomeOf(ride) {
  if (ride.steps.PAYMENT_PROCESSED?.status === 'SUCCEEDED') return 'completed';
  return Object.values(ride.steps).some(({ status }) => STATES[status].final && status !== 'SUCCEEDED') ? 'failed' : null;
}

// The furthest step that there is.
export const currentStep = (ride) => [...STEPS].reverse().find(({ type }) => ride.steps[type]);
export const retriesOf = (ride) => Object.values(ride.steps).reduce((sum, { status, attempts_used }) => sum + Math.max(0, attempts_used - (status === 'SUCCEEDED' ? 1 : 0)), 0);
export const rideByFlowId = (flow_id) => rides.get(flow_id);
export const allRides = () => [...rides.values()].filter((ride) => currentStep(ride)).sort((a, b) => b.requestedAt - a.requestedAt);

// What the request said: passenger, fare, places.
export function askForPayload(ride) {
  const { event_id } = Object.values(ride.steps)[0] ?? {};
  if (ride.isDescribed || !event_id || asked.has(event_id)) return;
  asked.add(event_id);
  get(`/api/events/${event_id}`).then(({ payload }) => describe(ride.flow_id, payload ?? {}), () => {});
}

async function readList() {
  const { events } = await get(`/api/events?flow_type=${FLOW}&limit=300`);
  events.reverse().forEach((event) => apply(event, false));
}

// Follows the rides until the function that it returns is called.
export function followRides(failed) {
  const read = () => readList().then(() => failed(null), failed);
  const ends = [onLive('change', (event) => apply(event, true)), onLive('reset', read)];
  read();
  return () => ends.forEach((end) => end());
}
