import { html, useState } from '../vendor/preact.js';
import { duration, exactDuration, plural, seconds, typedSeconds } from '../format.js';
import { Action } from './action.js';
import { Field } from './field.js';

// Kinds of values: how one is shown and sent as text, and what is wrong with a text.
export const span = (interval) => exactDuration(seconds(interval));
export const asNumber = { show: (value) => value ?? '', send: Number };
export const asCount = (min, max) => ({
  ...asNumber, type: 'number', min, max,
  check: (text) => (/^\d+$/.test(text) && Number(text) >= min && Number(text) <= max ? null : `A whole number from ${min.toLocaleString('en')} to ${max.toLocaleString('en')}`),
});
export const asSpan = { show: span, send: (text) => typedSeconds(text), check: (text) => (Number.isNaN(typedSeconds(text)) ? 'Not a length of time: 90 s, 5 min, 1 h 30 min' : null) };
export const asSpanBetween = (shortest, longest) => ({
  ...asSpan, check: (text) => asSpan.check(text) ?? (typedSeconds(text) >= shortest && typedSeconds(text) <= longest ? null : `From ${duration(shortest)} to ${duration(longest)}`),
});
export const asText = { show: (value) => value ?? '', send: (text) => text };
export const asSwitch = { show: (value) => (value ? 'yes' : 'no'), send: (text) => text === 'yes', options: ['no', 'yes'] };

// The texts of a form of values, what is wrong with them, and what was changed. fields: { name, label, hint, required,
// empty: what an empty one sends, and its kind }.
export function useForm(fields, values) {
  const before = Object.fromEntries(fields.map(({ name, show }) => [name, String(show(values[name]))]));
  const [texts, setTexts] = useState(before);
  const [refused, setRefused] = useState({});
  const errors = Object.fromEntries(fields.map(({ name, check, required }) => [name, texts[name] === '' ? (required ? 'Needed' : null) : check?.(texts[name]) ?? refused[name]]));
  const changed = fields.filter(({ name }) => texts[name] !== before[name]);

  return {
    fields, texts, errors, changed,
    isGood: !Object.values(errors).some(Boolean),
    set(name, text) { setTexts({ ...texts, [name]: text }); setRefused({ ...refused, [name]: null }); },
    undo() { setTexts(before); setRefused({}); },
    body: () => Object.fromEntries(changed.filter(({ name, empty }) => texts[name] !== '' || empty !== undefined).map(({ name, send, empty }) => [name, texts[name] === '' ? empty : send(texts[name])])),
    // What the engine refuses is told beside the field that it names, where it names one.
    async send(request) {
      try { await request(); } catch (problem) {
        const field = fields.find(({ name }) => new RegExp(`\\b${name}\\b`).test(problem.message));
        if (!field) throw problem;
        setRefused({ ...refused, [field.name]: [problem.message, problem.detail].filter(Boolean).join(': ') });
      }
    },
  };
}

export function FormFields({ form }) {
  return html`<div class="form-fields">${form.fields.map(({ name, label, hint, options, type = 'text', min, max, step, placeholder }) => html`<${Field} key=${name} label=${label} hint=${hint} error=${form.errors[name]}>
    ${(id, marks) => (options
    ? html`<select id=${id} ...${marks} value=${form.texts[name]} onChange=${(change) => form.set(name, change.target.value)}>${options.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select>`
    : html`<input id=${id} ...${marks} type=${type} min=${min} max=${max} step=${step} placeholder=${placeholder} value=${form.texts[name]} onInput=${(input) => form.set(name, input.target.value)} />`)}
  </${Field}>`)}</div>`;
}

export function FormFoot({ form, isNew, does, disabled = false, save }) {
  return html`<div class="form-foot">
    <${Action} type="submit" does=${does} kind="button-primary" disabled=${disabled || !form.isGood || (!isNew && form.changed.length === 0)} run=${save}>${isNew ? 'Make it' : form.changed.length ? `Save ${plural(form.changed.length, 'change')}` : 'Nothing changed'}</${Action}>
    ${form.changed.length > 0 && html`<button class="button" type="button" onClick=${form.undo}>Undo</button>`}
  </div>`;
}
