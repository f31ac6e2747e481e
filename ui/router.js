// Where the page is: #/screen/part?query, so that every view has an address.
import { createStore } from './store.js';

function parse() {
  const [path, query] = location.hash.replace(/^#/, '').split('?');
  const [screen = '', part] = path.split('/').filter(Boolean).map(decodeURIComponent);
  return { screen, part, query: Object.fromEntries(new URLSearchParams(query)), hash: location.hash };
}

export const place = createStore(parse());
addEventListener('hashchange', () => place.set(parse()));

export function link(screen, part, query = {}) {
  const path = [screen, part].filter(Boolean).map(encodeURIComponent).join('/');
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#/${path}${text ? `?${text}` : ''}`;
}

export function go(address) {
  location.hash = address;
}

// Changes the query in place, without a step in the browser's history.
export function replaceQuery(query) {
  const { screen, part } = place.get();
  history.replaceState(null, '', link(screen, part, query));
  place.set(parse());
}
