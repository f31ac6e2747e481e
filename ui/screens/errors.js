import { html } from '../vendor/preact.js'; export function Errors() { return html`<p>Errors</p>`; }
