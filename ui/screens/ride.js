import { html, useEffect, useState } from '../vendor/preact.js';
import { configure, publish, publishMany } from '../api.js';
import { ago, clockTime, duration, number, plural, titleOfType } from '../format.js';
import { useResource } from '../resource.js';
import { link, replaceQuery } from '../router.js';
import { fareBetween, PLACE_NAMES } from '../rides/city.js';
import { allRides, askForPayload, currentStep, describe, followRides, outcomeOf, retriesOf, rideByFlowId, version } from '../rides/model.js';
import { FLOW, STEPS } from '../rides/steps.js';
import { setWorking, working } from '../rides/worker.js';
import { STATES } from '../states.js';
import { useStore } from '../store.js';
import { Action } from '../components/action.js';
import { Chain } from '../components/chain.js';
import { CityMap } from '../components/city-map.js';
import { Field } from '../components/field.js';
import { Panel } from '../components/panel.js';
import { Empty, ProblemNote } from '../components/problem.js';
import { State, StateShape } from '../components/state.js';
import { useNow } from '../components/time.js';

const NAMES = ['Ada', 'Alan', 'Barbara', 'Dennis', 'Edsger', 'Frances', 'Grace', 'Joan', 'Katherine', 'Ken', 'Leslie', 'Margaret', 'Niklaus', 'Radia', 'Tony'];
const LONG = 4000;                  // milliseconds without a worker that are worth a word

const anyOf = (list) => list[Math.floor(Math.random() * list.length)];
const newFlowId = (name) => `ride-${name.toLowerCase().replace(/\W+/g, '-')}-${Math.random().toString(36).slice(2, 6)}`;

function Setup({ missing, done }) {
  async function make() {
    for (const { type, max_attempts, lifespan, attempt_delays } of missing) await configure(type, { flow_type: FLOW, max_attempts, lifespan, attempt_delays });
    done();
  }
  return html`<div class="note"><p class="note-title">${plural(missing.length, 'event type')} of the ride ${missing.length === 1 ? 'is' : 'are'} not configured</p>
    <p class="dim">${missing.map(({ type }) => type).join(', ')} belong to ${FLOW}. Configuration is rows, no code: this makes them.</p>
    <${Action} kind="button-primary" does="configure" run=${make}>Make ${missing.length === STEPS.length ? 'the six event types' : 'them'}</${Action}></div>`;
}

function Request({ places, setPlaces, follow }) {
  const [passenger, setPassenger] = useState(() => anyOf(NAMES));
  const { from, to } = places;
  const fare = from === to ? null : fareBetween(from, to);
  const request = (name, payload) => {
    const flow_id = newFlowId(name);
    describe(flow_id, payload);
    return { event_type: STEPS[0].type, flow_type: FLOW, flow_id, payload };
  };
  async function one() {
    const event = request(passenger, { passenger, fare, from, to });
    await publish(event);
    follow(event.flow_id);
    setPassenger(anyOf(NAMES));
  }
  async function five() {
    const events = Array.from({ length: 5 }, () => {
      const a = anyOf(PLACE_NAMES);
      const b = anyOf(PLACE_NAMES.filter((name) => name !== a));
      const name = anyOf(NAMES);
      return request(name, { passenger: name, fare: fareBetween(a, b), from: a, to: b });
    });
    await publishMany(events);
    follow(events[0].flow_id);
  }
  const select = (label, key) => html`<${Field} label=${label}>${(id) => html`<select id=${id} value=${places[key]} onChange=${(change) => setPlaces({ ...places, [key]: change.target.value })}>
    ${PLACE_NAMES.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select>`}</${Field}>`;
  return html`<${Panel} title="Request a ride"><form class="form" onSubmit=${(submit) => submit.preventDefault()}>
    <${Field} label="Passenger">${(id) => html`<input id=${id} required maxlength="40" value=${passenger} onInput=${(input) => setPassenger(input.target.value)} />`}</${Field}>
    <div class="form-row">${select('From', 'from')}${select('To', 'to')}</div>
    <div class="form-foot form-foot-fare">
      <${Action} type="submit" kind="button-primary" does="publish" flow=${FLOW} disabled=${!fare || !passenger.trim()} run=${one}>Request ride</${Action}>
      <${Action} does="publishBatch" flow=${FLOW} run=${five}>Five at random</${Action}>
      <span class="fare">${fare ? `$ ${fare.toFixed(2)}` : 'Same place'}</span>
    </div>
  </form></${Panel}>`;
}

function noteOf({ event, doing }, now) {
  if (!event) return 'not yet';
  if (event.status === 'BEING_PROCESSED') return doing;
  if (event.status === 'AWAITING_PROCESSING' && event.attempts_used > 0) return `tries again, ${event.attempts_used + 1}. attempt`;
  if (event.status === 'SUCCEEDED') return event.attempts_used > 1 ? `at attempt ${event.attempts_used}` : clockTime(event.state_since);
  return STATES[event.status].name;
}

function Followed({ ride }) {
  const now = useNow();
  const outcome = outcomeOf(ride);
  const step = currentStep(ride);
  const total = ((outcome ? ride.changedAt : now) - ride.requestedAt) / 1000;
  return html`<header class="ride-head">
      <h2>${ride.passenger}</h2><p>${ride.from} → ${ride.to}${ride.fare !== null && ` · $ ${ride.fare.toFixed(2)}`}</p>
      <p class="dim ride-clock">${outcome === 'completed' ? 'completed in ' : outcome === 'failed' ? 'ended after ' : ''}${duration(Math.max(0, total))}${retriesOf(ride) > 0 && ` · ${plural(retriesOf(ride), 'failed attempt')}`}</p>
    </header>
    <${Chain} label=${`The six events of ${ride.flow_id}`} steps=${STEPS.map(({ type, title, doing }) => ({ key: type, title, event: ride.steps[type], note: noteOf({ event: ride.steps[type], doing }, now) }))} />
    ${outcome === 'failed' && html`<p class="ride-end">It ends here: nothing after ${titleOfType(step.type).toLowerCase()} was published. <a href=${link('events', ride.steps[step.type].event_id)}>Look at it, or retry it</a>.</p>`}`;
}

function Log({ ride }) {
  const now = useNow();
  if (!ride || ride.log.length === 0) return html`<p class="dim">What happens to the ride is written here as it happens.</p>`;
  return html`<ol class="ride-log" tabindex="0" aria-label="What happened, newest first">${[...ride.log].reverse().slice(0, 60).map((entry, n) => html`<li key=${ride.log.length - n} class=${STATES[entry.status].css}>
    <time class="mono dim" datetime=${entry.at}>${new Date(entry.at).toISOString().slice(11, 23)}</time><${StateShape} status=${entry.status} />
    <span><strong>${titleOfType(entry.type)}</strong> ${entry.text}${entry.next_at && ` ${ago(entry.next_at, now)}`}</span></li>`)}</ol>`;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
}

function Totals({ rides }) {
  const completed = rides.filter((ride) => outcomeOf(ride) === 'completed');
  const failed = rides.filter((ride) => outcomeOf(ride) === 'failed').length;
  const figures = [
    ['rides', number(rides.length)],
    ['under way', number(rides.length - completed.length - failed)],
    ['completed', number(completed.length)],
    ['failed', number(failed)],
    ['failed attempts', number(rides.reduce((sum, ride) => sum + retriesOf(ride), 0))],
    ['median time', duration(median(completed.map((ride) => (ride.changedAt - ride.requestedAt) / 1000)))],
  ];
  return html`<div class="figures ride-totals">${figures.map(([name, value]) => html`<div key=${name} class="figure"><span class="figure-name">${name}</span><span class="figure-value">${value}</span></div>`)}</div>`;
}

function RideList({ rides, followed }) {
  return html`<ul class="lines ride-list">${rides.slice(0, 12).map((ride) => {
    const step = currentStep(ride);
    return html`<li key=${ride.flow_id}><a href=${link('ride', null, { ride: ride.flow_id })} aria-current=${followed === ride.flow_id ? 'true' : undefined}>${ride.passenger}</a>
      <span class="dim">${titleOfType(step.type)}</span><${State} status=${ride.steps[step.type].status} /></li>`;
  })}</ul>`;
}

function NoWorker({ ride }) {
  const now = useNow();
  const isWorking = useStore(working);
  const step = ride && ride.steps[currentStep(ride).type];
  const waits = step && step.status === 'DISPATCHED' && now - Date.parse(step.state_since) > LONG;
  if (!waits && !isWorking) return null;
  return html`<div class="note note-line"><p>${isWorking ? 'This page works on rides, over the same HTTP API as any worker.' : 'No worker takes it. Start one (evq-worker --flow FLOW_B …), or let this page be one.'}</p>
    <${Action} kind="button-small" does="acquireNext" flow=${FLOW} run=${() => setWorking(!isWorking)}>${isWorking ? 'Stop' : 'Work in this page'}</${Action}></div>`;
}

export function Ride({ query }) {
  useStore(version);
  const [problem, setProblem] = useState(null);
  const [places, setPlaces] = useState({ from: 'Harbour', to: 'University' });
  const types = useResource(`/api/event-types?flow_type=${FLOW}&limit=500`);
  useEffect(() => followRides(setProblem), []);

  const rides = allRides();
  const follow = (flow_id) => replaceQuery({ ride: flow_id });
  const ride = (query.ride && rideByFlowId(query.ride) && currentStep(rideByFlowId(query.ride)) ? rideByFlowId(query.ride) : null)
    ?? (query.ride ? null : rides.find((one) => !outcomeOf(one)) ?? rides[0]) ?? null;
  rides.slice(0, 14).forEach(askForPayload);
  const configured = new Set((types.data?.event_types ?? []).map(({ event_type }) => event_type));
  const missing = types.data ? STEPS.filter(({ type }) => !configured.has(type)) : [];
  const choose = (name) => setPlaces((was) => (was.turn === 'to' && name !== was.from ? { ...was, to: name, turn: 'from' } : { from: name, to: name === was.to ? was.from : was.to, turn: 'to' }));

  return html`
    <${ProblemNote} problem=${types.problem ?? problem} />
    ${missing.length > 0 && html`<${Setup} missing=${missing} done=${types.reload} />`}
    <${NoWorker} ride=${ride} />
    <${Totals} rides=${rides} />
    <div class="columns columns-ride">
      <div><section class="panel ride-panel" aria-label="The ride">
        <${CityMap} rides=${rides} ride=${ride} chosen=${places} choose=${choose} />
        ${ride ? html`<${Followed} ride=${ride} />` : html`<${Empty} title=${query.ride ? 'Waiting for the first event of the ride' : 'No ride yet'}><p>${query.ride ? query.ride : 'Request one and watch six events take it through the city.'}</p></${Empty}>`}
      </section>
        <${Panel} title="Log"><${Log} ride=${ride} /></${Panel}></div>
      <div><${Request} places=${places} setPlaces=${setPlaces} follow=${follow} />
        <${Panel} title="Rides" tools=${query.ride && html`<a href=${link('ride')}>Follow the newest</a>`}>
          ${rides.length === 0 ? html`<p class="dim">None so far.</p>` : html`<${RideList} rides=${rides} followed=${ride?.flow_id} />`}</${Panel}></div>
    </div>`;
}
