import { html } from '../vendor/preact.js'; export function Ride() { return html`<p>Ride</p>`; }
