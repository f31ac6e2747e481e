import { html, useState } from '../vendor/preact.js';
import { ago, shortId } from '../format.js';
import { prolong, report } from '../permits.js';
import { link } from '../router.js';
import { Action } from './action.js';
import { Field } from './field.js';
import { Json, parseJson } from './json.js';
import { useNow } from './time.js';
import { say } from './toast.js';

const FORMS = {
  succeed: { verb: 'success', label: 'Succeed', said: 'Reported as succeeded.', kind: 'button-primary' },
  fail: { verb: 'failure', label: 'Fail', said: 'Reported as failed.', kind: 'button-danger' },
  snooze: { verb: 'snooze', label: 'Snooze', said: 'Given back for later.', kind: '' },
  suspend: { verb: 'suspend', label: 'Suspend', said: 'Suspended until it is activated.', kind: '' },
};

function ReportForm({ event, which, close }) {
  const [text, setText] = useState({ succeed: '[]', fail: 'declined by hand', snooze: '60', suspend: '600' }[which]);
  const [retryable, setRetryable] = useState(true);
  const { verb, label, said, kind } = FORMS[which];
  const spinoffs = which === 'succeed' ? parseJson(text) : {};
  const bodies = {
    succeed: () => ({ spinoffs: spinoffs.value }),
    fail: () => ({ error_message: text, retryable }),
    snooze: () => ({ run_at: new Date(Date.now() + Number(text) * 1000).toISOString() }),
    suspend: () => ({ timeout: Number(text) }),
  };
  const labels = { succeed: 'Spinoffs', fail: 'Error message', snooze: 'Again in, seconds', suspend: 'Expires or is retried after, seconds' };

  async function send() {
    await report(event, verb, bodies[which]());
    say(said, link('events', event.event_id));
  }
  return html`<form class="form" onSubmit=${(submit) => submit.preventDefault()}>
    <${Field} label=${labels[which]} error=${spinoffs.error && `Not JSON: ${spinoffs.error}`} hint=${which === 'succeed' && '[{"event_type": "NEXT_STEP", "payload": {}}] publishes what follows, in the same transaction'}>
      ${(id) => (which === 'succeed'
        ? html`<textarea id=${id} class="mono" rows="2" spellcheck=${false} value=${text} onInput=${(input) => setText(input.target.value)}></textarea>`
        : html`<input id=${id} type=${which === 'fail' ? 'text' : 'number'} min="0" required value=${text} onInput=${(input) => setText(input.target.value)} />`)}
    </${Field}>
    ${which === 'fail' && html`<label class="check"><input type="checkbox" checked=${retryable} onChange=${(change) => setRetryable(change.target.checked)} /> may be tried again</label>`}
    <div class="form-foot">
      <${Action} kind=${kind} type="submit" does=${which} disabled=${spinoffs.error || text === ''} run=${send}>${label}</${Action}>
      <button class="button" type="button" onClick=${close}>Back</button>
    </div>
  </form>`;
}

// An event that this page has acquired: what it is, how long the permit holds, and how it can be reported.
export function Permit({ event }) {
  const [form, setForm] = useState(null);
  const now = useNow();
  return html`<article class="permit s-processing" aria-label=${`Permit for ${event.event_type} ${event.flow_id}`}>
    <header><a href=${link('events', event.event_id)}><strong>${event.event_type}</strong> <code>${shortId(event.event_id)}</code></a>
      <span class="dim">${event.flow_id} · attempt ${event.attempt} · permit runs out ${ago(event.attempt_due_at, now)}</span></header>
    <${Json} value=${event.payload} label="Payload" />
    ${(event.answer ?? null) !== null && html`<p class="dim">Answered</p><${Json} value=${event.answer} label="Answer" />`}
    ${form ? html`<${ReportForm} event=${event} which=${form} close=${() => setForm(null)} />` : html`<div class="form-foot">
      <button class="button button-primary" onClick=${() => setForm('succeed')}>Succeed …</button>
      <button class="button" onClick=${() => setForm('fail')}>Fail …</button>
      <button class="button" onClick=${() => setForm('snooze')}>Snooze …</button>
      <button class="button" onClick=${() => setForm('suspend')}>Suspend …</button>
      <${Action} does="heartbeat" run=${() => prolong(event)} title="Heartbeat: the permit holds for its full time from now">Prolong</${Action}>
      <${Action} does="release" run=${() => report(event, 'release')} title="Gives it back at once; no attempt is used up">Release</${Action}>
    </div>`}
  </article>`;
}
