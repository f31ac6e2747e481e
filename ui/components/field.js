import { html, useMemo } from '../vendor/preact.js';

let last = 0;

// A labelled control with a hint or what is wrong with it; children(id, marks) makes the control. marks: attributes by
// which assistive technology finds the text below it.
export function Field({ label, hint, error, css = '', children }) {
  const id = useMemo(() => `field-${++last}`, []);
  return html`<div class="field ${css}">
    <label for=${id}>${label}</label>
    ${children(id, { 'aria-invalid': error ? 'true' : undefined, 'aria-describedby': error || hint ? `${id}-note` : undefined })}
    ${error ? html`<p id="${id}-note" class="field-error" role="alert">${error}</p>` : hint && html`<p id="${id}-note" class="field-hint">${hint}</p>`}
  </div>`;
}
