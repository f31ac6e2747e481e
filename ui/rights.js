// What the role behind this page's requests may do, by the operations of openapi.json.
import { get } from './api.js';
import { on as onKey } from './keys.js';
import { createStore, useStore } from './store.js';

const rights = createStore(null);       // null: not known; then the gateway alone refuses

// Of operations in a flow, the list of flows that a role may be held to.
const FLOWS = { publish: 'publish_flows', publishBatch: 'publish_flows', acquire: 'work_flows', acquireNext: 'work_flows' };

async function read() {
  try { rights.set(await get('/api/rights')); } catch { rights.set(null); }
}

export function startRights() {
  onKey('refresh', read);
  read();
}

// Why the role may not do it, in this flow if one is given; null: it may.
export function useRefusal(operation, flow) {
  const now = useStore(rights);
  if (!now || !operation) return null;
  if (!now.operations.includes(operation)) return `The role ${now.role} may not do this`;
  const flows = now[FLOWS[operation]];
  return flow && flows && !flows.includes(flow) ? `The role ${now.role} may not do this in ${flow}` : null;
}
