import { html, useEffect, useState } from '../vendor/preact.js';
import { createStore, useStore } from '../store.js';
import { ProblemNote } from './problem.js';

const STAYS = 6000;
const toasts = createStore([]);
let last = 0;

function show(toast) {
  const id = ++last;
  toasts.set([...toasts.get().slice(-3), { id, ...toast }]);
  return id;
}

export const say = (text, href) => show({ text, href });
export const sayProblem = (problem) => show({ problem });

function dismiss(id) {
  toasts.set(toasts.get().filter((toast) => toast.id !== id));
}

function Toast({ toast }) {
  const [held, hold] = useState(false);
  useEffect(() => {
    if (held || toast.problem) return undefined;
    const timer = setTimeout(() => dismiss(toast.id), STAYS);
    return () => clearTimeout(timer);
  }, [held]);
  return html`<div class="toast" onMouseEnter=${() => hold(true)} onMouseLeave=${() => hold(false)}>
    ${toast.problem ? html`<${ProblemNote} problem=${toast.problem} />` : html`<p>${toast.text}${toast.href && html` <a href=${toast.href}>Show</a>`}</p>`}
    <button class="icon-button" aria-label="Dismiss" onClick=${() => dismiss(toast.id)}>×</button>
  </div>`;
}

export function Toasts() {
  const list = useStore(toasts);
  return html`<div class="toasts" role="status" aria-live="polite">${list.map((toast) => html`<${Toast} key=${toast.id} toast=${toast} />`)}</div>`;
}
