import { html, useState } from '../vendor/preact.js';
import { readOnly } from '../settings.js';
import { useStore } from '../store.js';
import { sayProblem } from './toast.js';

// A button that changes something: off in read-only mode, busy until its promise ends; what is refused is shown.
export function Action({ run, kind = '', disabled = false, type = 'button', title, children }) {
  const [busy, setBusy] = useState(false);
  const locked = useStore(readOnly);
  async function act() {
    setBusy(true);
    try { await run(); } catch (problem) { sayProblem(problem); } finally { setBusy(false); }
  }
  return html`<button type=${type} class="button ${kind}" disabled=${disabled || busy || locked} aria-busy=${busy}
    title=${locked ? 'Read-only mode is on' : title} onClick=${act}>${children}</button>`;
}
