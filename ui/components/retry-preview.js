import { html } from '../vendor/preact.js';
import { duration } from '../format.js';
import { attempts } from '../retry.js';
import { Table } from './panel.js';

const MOST = 12;
const [WIDTH, HEIGHT, LEFT] = [560, 64, 10];

// When attempts would be made if each failed at once. rule: as retry.js has it.
export function RetryPreview({ rule }) {
  const list = attempts(rule);
  const made = list.filter(({ fits }) => fits);
  const end = Math.max(rule.lifespan, made.at(-1)?.at ?? 0) || 1;
  const x = (seconds) => LEFT + (seconds / end) * (WIDTH - 2 * LEFT);
  const lost = rule.maxAttempts - made.length;
  return html`<div class="preview">
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${`${made.length} attempts within a lifespan of ${duration(rule.lifespan)}`}>
      <line class="preview-axis" x1=${x(0)} x2=${x(rule.lifespan)} y1="34" y2="34" />
      <path class="preview-end" d=${`M${x(rule.lifespan)} 22v24`} />
      ${made.map(({ attempt, at, spread }) => html`<g key=${attempt}>
        ${spread > 0 && html`<rect class="preview-spread" x=${x(Math.max(0, at - spread))} y="28" width=${Math.max(1, x(Math.min(end, at + spread)) - x(Math.max(0, at - spread)))} height="12" rx="3" />`}
        <circle class="preview-dot" cx=${x(at)} cy="34" r="6" /></g>`)}
      <text class="preview-text" x=${LEFT} y="60">published</text>
      <text class="preview-text" x=${WIDTH - LEFT} y="60" text-anchor="end">lifespan ${duration(rule.lifespan)}</text>
    </svg>
    <${Table} caption="Attempts, if each failed at once" heads=${['Attempt', ['Delay', 'number'], ['After the publish', 'number']]}>
      ${list.slice(0, MOST).map(({ attempt, delay, at, spread, fits }) => html`<tr key=${attempt} class=${fits ? '' : 'dim'}>
        <th scope="row">${attempt}</th><td class="number">${duration(delay)}${spread > 0 && ` ± ${duration(spread)}`}</td>
        <td class="number">${fits ? duration(at) : 'not made: the lifespan is over'}</td></tr>`)}
    </${Table}>
    ${list.length > MOST && html`<p class="dim">and so on, ${rule.maxAttempts} attempts at most</p>`}
    ${lost > 0 && html`<p class="preview-lost">The lifespan ends before ${lost === 1 ? 'the last attempt' : `the last ${lost} attempts`}.</p>`}
  </div>`;
}
