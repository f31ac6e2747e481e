import { html, useEffect, useState } from '../vendor/preact.js';
import { signIn, signInWanted } from '../api.js';
import { KEYS, on as onKey, refresh } from '../keys.js';
import { mode, restartLive } from '../live.js';
import { nextTheme, readOnly, theme } from '../settings.js';
import { useStore } from '../store.js';
import { ConfirmHost, Dialog } from './dialog.js';
import { Field } from './field.js';
import { Toasts } from './toast.js';

const PAGES = [
  ['', 'Dashboard', 'M2 9h5V2H2zm7 5h5V7H9zM2 14h5v-3H2zM9 5h5V2H9z'],
  ['flows', 'Flows', 'M2 4h6a3 3 0 0 1 0 6H7a2 2 0 0 0 0 4h7M11 1l3 3-3 3'],
  ['events', 'Events', 'M2 3.5h12M2 8h12M2 12.500h8'],
  ['event-types', 'Event types', 'M2 5h7m3 0h2M2 11h2m3 0h7M10.5 3v4M5.5 9v4'],
  ['errors', 'Errors', 'M8 2 1.5 13.500h13zM8 6.500v3M8 11.500v.1'],
  ['schedules', 'Schedules', 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.500V8l2.5 2'],
  ['ride', 'Ride demo', 'M2 11V8l1.5-4h9L14 8v3zM4.5 11v1.500m7-1.500v1.500M2 8h12'],
];
const LIVE = {
  connecting: ['Connecting', 'The live stream is being opened'],
  sse: ['Live', 'Changes come by server-sent events'],
  websocket: ['Live', 'Changes come by WebSocket'],
  polling: ['Polling', 'No live stream: the page reads again every few seconds'],
  paused: ['Paused', 'The page is hidden'],
};
const THEME_NAMES = { system: 'System theme', light: 'Light theme', dark: 'Dark theme' };

function Navigation({ screen }) {
  return html`<nav class="nav" aria-label="Pages"><ul>${PAGES.map(([name, text, path]) => html`<li key=${name}>
    <a href=${`#/${name}`} aria-current=${screen === name ? 'page' : undefined}>
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d=${path} /></svg><span>${text}</span></a></li>`)}</ul></nav>`;
}

function LiveSign() {
  const now = useStore(mode);
  const [text, title] = LIVE[now];
  return html`<span class="live live-${now}" title=${title} data-live=${now}><span class="live-lamp" aria-hidden="true"></span>${text}</span>`;
}

function Help({ close }) {
  return html`<${Dialog} title="Keys" onClose=${close}><table class="keys"><tbody>
    ${KEYS.map(([keys, text]) => html`<tr key=${keys}><th scope="row">${keys.split(', ').map((one, n) => html`${n > 0 && ', '}<kbd>${one}</kbd>`)}</th><td>${text}</td></tr>`)}
  </tbody></table></${Dialog}>`;
}

function SignIn() {
  const [token, setToken] = useState('');
  function send(submit) {
    submit.preventDefault();
    signIn(token.trim());
    restartLive();
    refresh();
  }
  return html`<${Dialog} title="Sign in" onClose=${() => signInWanted.set(false)}><form class="form" onSubmit=${send}>
    <p>This gateway wants a token. It is kept until this tab is closed.</p>
    <${Field} label="Token" hint="A line of the gateway's token file gives each token the rights of a database role.">${(id) => html`<input id=${id} type="password" autocomplete="current-password" required value=${token} onInput=${(input) => setToken(input.target.value)} />`}</${Field}>
    <div class="form-foot"><button class="button button-primary">Sign in</button></div>
  </form></${Dialog}>`;
}

export function Shell({ screen, title, main, children }) {
  const [help, setHelp] = useState(false);
  const locked = useStore(readOnly);
  const chosen = useStore(theme);
  const mustSignIn = useStore(signInWanted);
  useEffect(() => onKey('help', () => setHelp(true)), []);

  return html`
    <a class="skip" href="#main" onClick=${(click) => { click.preventDefault(); main.current.focus(); }}>Skip to the content</a>
    <aside class="side">
      <a class="brand" href="#/" aria-label="evq, dashboard"><img src="/icon.svg" alt="" width="26" height="26" /><span>evq</span></a>
      <${Navigation} screen=${screen} />
      <div class="side-foot">
        <label class="check"><input type="checkbox" role="switch" checked=${locked} onChange=${(change) => readOnly.set(change.target.checked)} /> Read-only</label>
        <button class="button button-quiet" onClick=${nextTheme}>${THEME_NAMES[chosen]}</button>
        <button class="button button-quiet" onClick=${() => setHelp(true)}>Keys <kbd>?</kbd></button>
      </div>
    </aside>
    <main id="main" ref=${main} tabindex="-1">
      <header class="top"><h1>${title}</h1>${locked && html`<span class="badge">read-only</span>`}<${LiveSign} /></header>
      ${children}
    </main>
    ${help && html`<${Help} close=${() => setHelp(false)} />`}
    ${mustSignIn && html`<${SignIn} />`}
    <${ConfirmHost} />
    <${Toasts} />`;
}
