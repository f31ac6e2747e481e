import { html, useEffect, useRef } from '../vendor/preact.js';
import { createStore, useStore } from '../store.js';

// A modal dialog while it is mounted. Escape and the backdrop close it.
export function Dialog({ title, onClose, children }) {
  const element = useRef();
  useEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    return () => before?.focus?.();
  }, []);
  return html`<dialog ref=${element} aria-label=${title} onClose=${onClose}
      onClick=${(event) => event.target === element.current && element.current.close()}>
    <div class="dialog">
      <header class="dialog-head"><h2>${title}</h2>
        <button class="icon-button" aria-label="Close" onClick=${() => element.current.close()}>×</button></header>
      ${children}
    </div>
  </dialog>`;
}

const question = createStore(null);

// Asks before what cannot be taken back; resolves to true or false.
export function confirm({ title, text, verb, danger = false }) {
  return new Promise((resolve) => question.set({ title, text, verb, danger, resolve }));
}

export function ConfirmHost() {
  const asked = useStore(question);
  if (!asked) return null;
  const answer = (value) => { question.set(null); asked.resolve(value); };
  return html`<${Dialog} title=${asked.title} onClose=${() => answer(false)}>
    <p>${asked.text}</p>
    <footer class="dialog-foot">
      <button class="button" onClick=${() => answer(false)}>Keep as it is</button>
      <button class="button ${asked.danger ? 'button-danger' : 'button-primary'}" onClick=${() => answer(true)}>${asked.verb}</button>
    </footer>
  </${Dialog}>`;
}
