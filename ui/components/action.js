import { html, useState } from '../vendor/preact.js';
import { useRefusal } from '../rights.js';
import { readOnly } from '../settings.js';
import { useStore } from '../store.js';
import { sayProblem } from './toast.js';

// A button that changes something: off in read-only mode, and where the role may not call the operation (in the flow); busy
// until its promise ends; what is refused is shown.
export function Action({ run, does, flow, kind = '', disabled = false, type = 'button', title, children }) {
  const [busy, setBusy] = useState(false);
  const locked = useStore(readOnly);
  const refusal = useRefusal(does, flow);
  async function act() {
    setBusy(true);
    try { await run(); } catch (problem) { sayProblem(problem); } finally { setBusy(false); }
  }
  return html`<button type=${type} class="button ${kind}" disabled=${disabled || busy || locked || refusal !== null} aria-busy=${busy}
    title=${refusal ?? (locked ? 'Read-only mode is on' : title)} onClick=${act}>${children}</button>`;
}
