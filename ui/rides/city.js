// The city of the ride demo: streets in a grid, places at their crossings, and ways between them.
export const WIDTH = 900;
export const HEIGHT = 540;
export const AVENUES = [70, 180, 300, 410, 530, 650, 760, 840];      // x
export const STREETS = [60, 140, 225, 310, 400, 480];                // y

export const PLACES = {
  Airport: [840, 60], Harbour: [70, 400], 'Old Town': [300, 140], Market: [410, 225], Station: [530, 310], Museum: [180, 225],
  University: [650, 140], Hospital: [760, 225], Stadium: [650, 400], Lakeside: [180, 60], Gardens: [410, 480], Mill: [760, 480],
};
export const PLACE_NAMES = Object.keys(PLACES);

// A number from 0 to 1 that depends on the text alone.
export function chance(text) {
  let hash = 2166136261;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}

const pick = (list, text) => list[Math.floor(chance(text) * list.length)];

// Where a ride goes whose payload does not say.
export function usualPlaces(flowId) {
  const from = pick(PLACE_NAMES, `${flowId} from`);
  return { from, to: pick(PLACE_NAMES.filter((name) => name !== from), `${flowId} to`) };
}

export const driverStart = (flowId) => [pick(AVENUES, `${flowId} x`), pick(STREETS, `${flowId} y`)];

// Along the streets, with one corner. {points, length}
export function wayBetween(a, b, text) {
  const corner = chance(text) < 0.5 ? [b[0], a[1]] : [a[0], b[1]];
  const points = [a, corner, b].filter((point, n, all) => n === 0 || point[0] !== all[n - 1][0] || point[1] !== all[n - 1][1]);
  let length = 0;
  for (let n = 1; n < points.length; n++) length += Math.abs(points[n][0] - points[n - 1][0]) + Math.abs(points[n][1] - points[n - 1][1]);
  return { points, length };
}

// {x, y, angle} after a share of the way.
export function pointOn({ points, length }, share) {
  let left = length * share;
  for (let n = 1; n < points.length; n++) {
    const [dx, dy] = [points[n][0] - points[n - 1][0], points[n][1] - points[n - 1][1]];
    const part = Math.abs(dx) + Math.abs(dy);
    if (left <= part || n === points.length - 1) {
      const at = part === 0 ? 0 : Math.min(1, left / part);
      return { x: points[n - 1][0] + dx * at, y: points[n - 1][1] + dy * at, angle: Math.round((Math.atan2(dy, dx) * 180) / Math.PI) };
    }
    left -= part;
  }
  return { x: points[0][0], y: points[0][1], angle: 0 };
}

export const fareBetween = (from, to) => Math.round((3 + wayBetween(PLACES[from], PLACES[to], '').length / 28) * 100) / 100;
