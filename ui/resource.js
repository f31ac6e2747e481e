// What screens read from the API, and when they read it again.
import { useEffect, useRef, useState } from './vendor/preact.js';
import { get, withQuery } from './api.js';
import { on as onKey } from './keys.js';
import { on as onLive } from './live.js';

const SHORTEST_PAUSE = 1000;        // between two readings that changes cause

// Calls reread at once when asked, and at most once a second when events change that concern it.
function useReread(reread, concerns) {
  const latest = useRef();
  latest.current = { reread, concerns };
  useEffect(() => {
    let timer = null;
    let last = 0;
    const now = () => { clearTimeout(timer); timer = null; last = Date.now(); latest.current.reread(); };
    const soon = () => { timer ??= setTimeout(now, Math.max(0, last + SHORTEST_PAUSE - Date.now())); };
    const ends = [
      onKey('refresh', now),
      onLive('reset', soon),
      onLive('skipped', () => latest.current.concerns && soon()),
      onLive('change', (event) => latest.current.concerns?.(event) && soon()),
    ];
    return () => { clearTimeout(timer); ends.forEach((end) => end()); };
  }, []);
}

// Runs one reading at a time: begin(read) drops the one before it, again(read) lets it end and reads once more.
function useReading() {
  const running = useRef(null);
  const wanted = useRef(null);

  function begin(read) {
    running.current?.abort();
    wanted.current = null;
    const controller = running.current = new AbortController();
    const isCurrent = () => running.current === controller;
    read(controller.signal, isCurrent).finally(() => {
      if (!isCurrent()) return;
      running.current = null;
      const next = wanted.current;
      wanted.current = null;
      if (next) begin(next);
    });
  }
  function again(read) {
    if (running.current) wanted.current = read;
    else begin(read);
  }
  function stop() {
    wanted.current = null;
    running.current?.abort();
    running.current = null;
  }
  return { begin, again, stop };
}

// One answer of the API. What was read stays while it is read again. path null: nothing to read.
// concerns(event): does a change of this event change the answer?
export function useResource(path, concerns) {
  const [state, setState] = useState({ loading: true });
  const reading = useReading();

  function read(signal, isCurrent) {
    return get(path, { signal }).then(
      (data) => isCurrent() && setState({ data, path, loading: false }),
      (problem) => isCurrent() && problem.name !== 'AbortError' && setState((was) => ({ ...was, problem, path, loading: false })));
  }

  useEffect(() => {
    setState((was) => (was.path === path ? was : { loading: path !== null }));
    if (path !== null) reading.begin(read);
    return reading.stop;
  }, [path]);
  const reload = () => path !== null && reading.again(read);
  useReread(reload, concerns);
  return { ...state, reload };
}

// Pages of a list: more() adds the next one. Changes read the list again only while it is one page long, so that it does
// not jump while somebody is deep in it.
export function usePages(path, query, key, concerns) {
  const address = withQuery(path, query);
  const [state, setState] = useState({ items: [], loading: true });
  const pages = useRef(1);
  const reading = useReading();

  const readAfter = (after) => (signal, isCurrent) => get(withQuery(path, { ...query, after }), { signal }).then(
    (answer) => {
      if (!isCurrent()) return;
      pages.current = after === undefined ? 1 : pages.current + 1;
      setState((was) => ({ address, loading: false, next: answer.next, searched: answer.searched, items: after === undefined ? answer[key] : [...was.items, ...answer[key]] }));
    },
    (problem) => isCurrent() && problem.name !== 'AbortError' && setState((was) => ({ ...was, address, problem, loading: false, loadingMore: false })));

  useEffect(() => {
    setState((was) => (was.address === address ? was : { items: [], loading: true }));
    reading.begin(readAfter());
    return reading.stop;
  }, [address]);
  useReread(() => pages.current === 1 && reading.again(readAfter()), concerns);
  return {
    ...state,
    reload: () => reading.begin(readAfter()),
    more: () => {
      setState((was) => ({ ...was, loadingMore: true }));
      reading.begin(readAfter(state.next));
    },
  };
}
