// State changes as they happen: server-sent events, else WebSocket, else polling; nothing while the page is hidden.
//
// Topics: "change" (an event's new state), "skipped" (changes that were only counted), "reset" (read anew what is shown).
import { authorization, bearerToken, problemOf } from './api.js';
import { createEmitter } from './emitter.js';
import { createStore } from './store.js';

const POLL_EVERY = 3000;
const POLL_FOR = 30000;             // before a stream is tried again
const SILENCE_ALLOWED = 40000;      // the gateway gives a sign every 15 seconds

const emitter = createEmitter();
export const mode = createStore('connecting');       // or sse, websocket, polling, paused
export const on = emitter.on;

let controller = null;
let lastId = null;

function take(text) {
  let message;
  try { message = JSON.parse(text); } catch { return; }
  if (message.type === 'reset') emitter.emit('reset');
  else if (message.type === 'event_update' && message.event.skipped) emitter.emit('skipped', message.event.skipped);
  else if (message.type === 'event_update') emitter.emit('change', message.event);
}

function opened(name, resumed) {
  mode.set(name);
  if (!resumed) emitter.emit('reset');
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

// Calls giveUp when touch() was not called for too long.
function watchdog(giveUp) {
  let timer;
  const touch = () => { clearTimeout(timer); timer = setTimeout(giveUp, SILENCE_ALLOWED); };
  touch();
  return { touch, end: () => clearTimeout(timer) };
}

// fetch, not EventSource: that cannot send a token.
async function readServerSentEvents(signal) {
  const own = new AbortController();
  const stop = () => own.abort();
  signal.addEventListener('abort', stop, { once: true });
  const dog = watchdog(stop);
  try {
    const resumed = lastId !== null;
    const response = await fetch('/api/stream', {
      headers: { Accept: 'text/event-stream', ...authorization(), ...(resumed && { 'Last-Event-ID': lastId }) },
      signal: own.signal,
      cache: 'no-store',
    });
    if (!response.ok) throw await problemOf(response);
    opened('sse', resumed);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      dog.touch();
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) {
        for (const line of block.split('\n')) {
          if (line.startsWith('id: ')) lastId = line.slice(4);
          else if (line.startsWith('data: ')) take(line.slice(6));
        }
      }
    }
  } finally {
    dog.end();
    signal.removeEventListener('abort', stop);
  }
}

function readWebSocket(signal) {
  return new Promise((resolve, reject) => {
    const url = new URL('/ws', location);
    url.protocol = url.protocol.replace('http', 'ws');
    const socket = new WebSocket(url, bearerToken() ? ['evq', `bearer.${bearerToken()}`] : ['evq']);
    signal.addEventListener('abort', () => socket.close(), { once: true });
    socket.onopen = () => opened('websocket', false);
    socket.onmessage = ({ data }) => take(data);
    socket.onerror = () => reject(new Error('no WebSocket'));
    socket.onclose = resolve;
  });
}

async function poll(signal) {
  mode.set('polling');
  const end = Date.now() + POLL_FOR;
  while (!signal.aborted && Date.now() < end) {
    emitter.emit('reset');
    await pause(POLL_EVERY, signal);
  }
}

// Did it work for a while? A stream that breaks at once is no use.
async function works(read, signal) {
  const began = Date.now();
  try { await read(signal); } catch { /* what follows tries the next way */ }
  return mode.get() !== 'connecting' && Date.now() - began > 5000;
}

async function follow(signal) {
  while (!signal.aborted) {
    mode.set('connecting');
    if (await works(readServerSentEvents, signal)) {
      if (!signal.aborted) await pause(500, signal);
      continue;
    }
    if (signal.aborted) return;
    lastId = null;
    mode.set('connecting');
    if (await works(readWebSocket, signal) || signal.aborted) continue;
    await poll(signal);
  }
}

function begin() {
  controller?.abort();
  controller = new AbortController();
  if (document.hidden) mode.set('paused');
  else follow(controller.signal);
}

export function startLive() {
  document.addEventListener('visibilitychange', begin);
  begin();
}

// After signing in, say.
export const restartLive = begin;
