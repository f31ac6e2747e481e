// The page: which screen stands for an address, and the shell around it.
import { html, render, useEffect, useErrorBoundary, useRef } from './vendor/preact.js';
import { startKeys } from './keys.js';
import { startLive } from './live.js';
import { startRights } from './rights.js';
import { place } from './router.js';
import { startStats } from './stats.js';
import { useStore } from './store.js';
import { Shell } from './components/shell.js';
import { Empty, ProblemNote } from './components/problem.js';
import { Dashboard } from './screens/dashboard.js';
import { Errors } from './screens/errors.js';
import { Event } from './screens/event.js';
import { EventTypes } from './screens/event-types.js';
import { Events } from './screens/events.js';
import { Flows } from './screens/flows.js';
import { Ride } from './screens/ride.js';
import { Schedules } from './screens/schedules.js';

const SCREENS = {
  '': ['Dashboard', Dashboard],
  flows: ['Flows', Flows],
  events: ['Events', Events],
  event: ['Event', Event],
  'event-types': ['Event types', EventTypes],
  errors: ['Errors', Errors],
  schedules: ['Schedules', Schedules],
  ride: ['Ride demo', Ride],
};

function Nowhere() {
  return html`<${Empty} title="There is no such page"><p><a href="#/">Go to the dashboard</a></p></${Empty}>`;
}

function Screen({ screen, part, query }) {
  const [error, again] = useErrorBoundary();
  const [, Content] = SCREENS[screen] ?? [null, Nowhere];
  if (error) return html`<${ProblemNote} problem=${{ title: 'this page has a fault', detail: String(error), hint: 'Reading it again may help.' }} again=${again} />`;
  return html`<${Content} part=${part} query=${query} />`;
}

function App() {
  const { screen, part, query } = useStore(place);
  const shown = screen === 'events' && part ? 'event' : screen;
  const [title] = SCREENS[shown] ?? ['Not found'];
  const main = useRef();
  const first = useRef(true);

  // Who does not see the page change hears that it did.
  useEffect(() => {
    document.title = `${title} · evq`;
    if (first.current) first.current = false;
    else if (!main.current.contains(document.activeElement)) main.current.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [shown, part]);
  return html`<${Shell} screen=${screen} title=${title} main=${main}><${Screen} key=${`${shown}/${part ?? ''}`} screen=${shown} part=${part} query=${query} /></${Shell}>`;
}

startStats();
startKeys();
startRights();
startLive();
render(html`<${App} />`, document.getElementById('app'));
