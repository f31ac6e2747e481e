// Times, numbers and names as people read them.
const UNITS = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];

// Seconds as one or two units: 1 h 5 min, 12 s, 340 ms.
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return '–';
  const sign = seconds < 0 ? '−' : '';
  seconds = Math.abs(seconds);
  if (seconds < 0.0005) return '0 s';
  if (seconds < 1) return `${sign}${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${sign}${Number(seconds.toFixed(1))} s`;
  seconds = Math.round(seconds);
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  const [unit, size] = UNITS[at];
  const next = UNITS[at + 1];
  const more = next ? Math.floor((seconds % size) / next[1]) : 0;
  return `${sign}${Math.floor(seconds / size)} ${unit}${more ? ` ${more} ${next[0]}` : ''}`;
}

// Seconds in full, as PostgreSQL reads them: 1 h 30 min 0.5 s.
export function exactDuration(seconds) {
  const words = [];
  let rest = seconds;
  for (const [unit, size] of UNITS.slice(0, -1)) {
    if (rest >= size) words.push(`${Math.floor(rest / size)} ${unit}`);
    rest %= size;
  }
  if (rest > 0 || words.length === 0) words.push(`${Number(rest.toFixed(6))} s`);
  return words.join(' ');
}

// An interval as PostgreSQL writes it ("1 day 02:00:00.5"), in seconds; NaN where it is none.
export function seconds(interval) {
  if (interval === null || interval === undefined || interval === '') return NaN;
  const parts = String(interval).trim().match(/^(?:(-?\d+) years? ?)?(?:(-?\d+) mons? ?)?(?:(-?\d+) days? ?)?(?:(-?)(\d+):(\d\d):(\d\d(?:\.\d+)?))?$/);
  if (!parts || parts[0] === '') return NaN;
  const [, years, months, days, sign, h, min, s] = parts;
  const clock = (Number(h ?? 0) * 3600 + Number(min ?? 0) * 60 + Number(s ?? 0)) * (sign ? -1 : 1);
  return (Number(years ?? 0) * 365.25 + Number(months ?? 0) * 30 + Number(days ?? 0)) * 86400 + clock;
}

// What a person types for a length of time, in seconds: "90", "90 s", "1 h 30 min", "02:00:00".
export function typedSeconds(text) {
  const words = String(text).trim();
  if (/^\d+(\.\d+)?$/.test(words)) return Number(words);
  if (!Number.isNaN(seconds(words))) return seconds(words);
  const units = { ms: 0.001, s: 1, sec: 1, second: 1, m: 60, min: 60, minute: 60, h: 3600, hour: 3600, d: 86400, day: 86400, w: 604800, week: 604800 };
  let sum = 0;
  const rest = words.replace(/(\d+(?:\.\d+)?)\s*([a-z]+)/gi, (all, number, unit) => {
    const size = units[unit.toLowerCase()] ?? units[unit.toLowerCase().replace(/s$/, '')];
    sum += size === undefined ? NaN : Number(number) * size;
    return '';
  });
  return rest.trim() === '' && words !== '' ? sum : NaN;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });

export const clockTime = (time) => clock.format(new Date(time));

export function dateTime(time) {
  const at = new Date(time);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : `${date.format(at)}, ${clock.format(at)}`;
}

export function ago(time, now = Date.now()) {
  const past = (now - new Date(time)) / 1000;
  if (Math.abs(past) < 1) return 'now';
  return past > 0 ? `${duration(Math.max(1, Math.floor(past)))} ago` : `in ${duration(Math.ceil(-past))}`;
}

export const number = (value) => (value ?? 0).toLocaleString('en-GB').replaceAll(',', ' ');
export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? '' : 's'}`;
// UUIDv7: the end tells neighbours apart, the beginning does not.
export const shortId = (id) => `…${id.slice(-8)}`;
export const titleOfType = (type) => type.toLowerCase().replaceAll('_', ' ').replace(/^./, (c) => c.toUpperCase());
