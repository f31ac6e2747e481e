import { html, useMemo } from '../vendor/preact.js';

let last = 0;

// A labelled control with a hint or what is wrong with it; children(id) makes the control.
export function Field({ label, hint, error, css = '', children }) {
  const id = useMemo(() => `field-${++last}`, []);
  return html`<div class="field ${css}">
    <label for=${id}>${label}</label>
    ${children(id)}
    ${error ? html`<p class="field-error" role="alert">${error}</p>` : hint && html`<p class="field-hint">${hint}</p>`}
  </div>`;
}
