import { html } from '../vendor/preact.js';

export function Panel({ title, tools, css = '', children }) {
  return html`<section class="panel ${css}" aria-label=${title}>
    <header class="panel-head"><h2>${title}</h2>${tools && html`<div class="panel-tools">${tools}</div>`}</header>
    ${children}
  </section>`;
}

// A table that scrolls by itself where the page is narrow. heads: texts, or [text, class].
// grouped: the rows come in bodies of their own.
export function Table({ caption, heads, grouped = false, children }) {
  return html`<div class="table-frame" tabindex="0" role="region" aria-label=${caption}>
    <table><caption class="unseen">${caption}</caption>
      <thead><tr>${heads.map((head) => (Array.isArray(head) ? html`<th scope="col" class=${head[1]}>${head[0]}</th>` : html`<th scope="col">${head}</th>`))}</tr></thead>
      ${grouped ? children : html`<tbody>${children}</tbody>`}
    </table>
  </div>`;
}
