import { html } from '../vendor/preact.js'; export function Schedules() { return html`<p>Schedules</p>`; }
