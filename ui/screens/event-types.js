import { html } from '../vendor/preact.js'; export function EventTypes() { return html`<p>EventTypes</p>`; }
