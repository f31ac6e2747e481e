// The gateway's HTTP API: JSON in and out; what is refused is a Problem (RFC 9457).
import { createStore } from './store.js';

export class Problem extends Error {
  constructor({ title, status, detail, hint, sqlstate }) {
    super(title);
    Object.assign(this, { title, status, detail, hint, sqlstate });
  }
}

export const signInWanted = createStore(false);

const TOKEN = 'evq.token';
let token = null;
try { token = sessionStorage.getItem(TOKEN); } catch { /* no storage: asked for again after a reload */ }

export const bearerToken = () => token;

export function signIn(value) {
  token = value;
  try { sessionStorage.setItem(TOKEN, value); } catch { /* as above */ }
  signInWanted.set(false);
}

export const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});

export async function problemOf(response) {
  let body = {};
  try { body = await response.json(); } catch { /* not of the gateway: a proxy's, say */ }
  if (response.status === 401) signInWanted.set(true);
  return new Problem({ title: `the gateway answered ${response.status}`, ...body, status: response.status });
}

export async function call(method, path, body, { signal } = {}) {
  const headers = { Accept: 'application/json', ...authorization() };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, { method, headers, signal, cache: 'no-store', body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem({ title: 'the gateway does not answer', detail: error.message, hint: 'Is evq-gateway running? The page tries again by itself.' });
  }
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

// A path with its query; what is empty is left out.
export function withQuery(path, query) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '')).toString();
  return text ? `${path}?${text}` : path;
}

export const get = (path, options) => call('GET', path, undefined, options);
export const post = (path, body) => call('POST', path, body);
export const put = (path, body) => call('PUT', path, body);

const eventPath = (id, verb) => `/api/events/${encodeURIComponent(id)}/${verb}`;

export const publish = (event) => post('/api/events', event);
export const publishMany = (events) => post('/api/events/batch', events);
export const actOnEvent = (id, verb, body) => post(eventPath(id, verb), body);
export const acquireNext = (flow, body) => post(`/api/flows/${encodeURIComponent(flow)}/acquire`, body);
export const configure = (type, body) => put(`/api/event-types/${encodeURIComponent(type)}`, body);
export const configureFlow = (flow, body) => put(`/api/flows/${encodeURIComponent(flow)}`, body);
export const pauseFlow = (flow) => post(`/api/flows/${encodeURIComponent(flow)}/pause`);
export const resumeFlow = (flow) => post(`/api/flows/${encodeURIComponent(flow)}/resume`);
export const suspendType = (type, suspend) => post(`/api/event-types/${encodeURIComponent(type)}/${suspend ? 'suspend' : 'unsuspend'}`);
export const actOnSchedule = (name, verb) => post(`/api/schedules/${encodeURIComponent(name)}/${verb}`);
