import { html } from '../vendor/preact.js';
import { dateTime, plural } from '../format.js';

// What the API refused, and what to do about it.
export function ProblemNote({ problem, again }) {
  if (!problem) return null;
  return html`<div class="note note-problem" role="alert">
    <p class="note-title">${problem.title ?? problem.message}${problem.sqlstate && html` <code>${problem.sqlstate}</code>`}</p>
    ${problem.detail && html`<p>${problem.detail}</p>`}
    ${problem.hint && html`<p class="dim">${problem.hint}</p>`}
    ${again && html`<button class="button button-small" onClick=${again}>Try again</button>`}
  </div>`;
}

// Says what to do where there is nothing.
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p><div>${children}</div></div>`;
}

// The frame of whatever a resource brings: its problem above what was read before; a quiet line while there is nothing yet.
export function Loaded({ resource, children }) {
  const nothing = resource.data === undefined && !resource.items?.length;
  return html`
    <${ProblemNote} problem=${resource.problem} again=${resource.reload} />
    ${nothing && resource.loading ? html`<p class="loading" role="status">Reading …</p>` : nothing && resource.problem ? null : children}`;
}

// A search may have found nothing yet and have more to look at.
export function Pager({ list, noun }) {
  const backTo = list.searched?.back_to;
  return html`<div class="pager">
    <span class="dim">${plural(list.items.length, noun)}${list.next ? ' so far' : ''}${backTo ? `, searched back to ${dateTime(backTo)}` : ''}</span>
    ${list.next && html`<button class="button" disabled=${list.loadingMore} onClick=${list.more}>${list.loadingMore ? 'Reading …' : 'Load more'}</button>`}
  </div>`;
}
