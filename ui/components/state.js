import { html } from '../vendor/preact.js';
import { STATES } from '../states.js';

// A state's shape; it takes the colour of the text around it.
export function StateShape({ status, size = 16 }) {
  const { shape, solid, cut } = STATES[status];
  return html`<svg class="shape" viewBox="0 0 16 16" width=${size} height=${size} aria-hidden="true">
    ${shape && html`<path class="shape-line" d=${shape} />`}
    ${solid && html`<path class="shape-solid" d=${solid} />`}
    ${cut && html`<path class="shape-cut" d=${cut} />`}
  </svg>`;
}

export function State({ status }) {
  const { name, css } = STATES[status];
  return html`<span class="state ${css}"><${StateShape} status=${status} /><span>${name}</span></span>`;
}
