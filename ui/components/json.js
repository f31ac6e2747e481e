import { html } from '../vendor/preact.js';

const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;

// JSON, indented, with its strings, numbers and keys told apart.
export function Json({ value, label }) {
  const text = JSON.stringify(value, null, 2) ?? 'null';
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(TOKEN)) {
    parts.push(text.slice(end, found.index));
    const kind = found[2] ? 'json-key' : found[1] ? 'json-string' : found[3] ? 'json-word' : 'json-number';
    parts.push(html`<span class=${kind}>${found[1] ?? found[0]}</span>`, found[2] ?? '');
    end = found.index + found[0].length;
  }
  parts.push(text.slice(end));
  return html`<pre class="json" tabindex="0" role="group" aria-label=${label}>${parts}</pre>`;
}

// What was typed as JSON: {value} or {error}.
export function parseJson(text) {
  try { return { value: JSON.parse(text) }; } catch (error) { return { error: error.message }; }
}
