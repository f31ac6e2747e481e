import { html } from '../vendor/preact.js'; export function Flows() { return html`<p>Flows</p>`; }
