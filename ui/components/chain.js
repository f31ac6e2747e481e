import { html } from '../vendor/preact.js';
import { link } from '../router.js';
import { STATES } from '../states.js';
import { StateShape } from './state.js';

// Steps in a row, each with its state; one that does not exist yet has no event.
// steps: [{key, title, note, event}]
export function Chain({ label, steps }) {
  return html`<ol class="chain" aria-label=${label}>${steps.map(({ key, title, note, event }) => html`
    <li key=${key} class="chain-step ${event ? `${STATES[event.status].css} chain-${STATES[event.status].short}` : 'chain-none'}">
      <span class="chain-mark">${event && html`<${StateShape} status=${event.status} size=${20} />`}</span>
      <span class="chain-title">${event ? html`<a href=${link('events', event.event_id)}>${title}</a>` : title}</span>
      <span class="chain-note">${note}</span>
    </li>`)}</ol>`;
}
