import { html, useEffect, useRef } from '../vendor/preact.js';
import { driveCars, waysOf } from '../rides/cars.js';
import { AVENUES, HEIGHT, PLACES, STREETS, WIDTH } from '../rides/city.js';

const line = ({ points }) => points.map((point) => point.join(' ')).join(' L').replace(/^/, 'M');
const PARKS = [[305, 405, 100, 70], [535, 65, 110, 70], [75, 145, 100, 75]];

function Streets() {
  return html`<g class="map-streets">
    ${AVENUES.map((x) => html`<path key=${x} d=${`M${x} 0V${HEIGHT}`} />`)}
    ${STREETS.map((y) => html`<path key=${y} d=${`M0 ${y}H${WIDTH}`} />`)}
  </g>`;
}

function Place({ name, at: [x, y], kind, choose }) {
  const low = y > HEIGHT - 80;
  return html`<g class="map-place ${kind ? `map-${kind}` : ''}" onClick=${choose}>
    <circle cx=${x} cy=${y} r=${kind ? 9 : 5} />
    ${kind && html`<text class="map-place-kind" x=${x} y=${y + 3.5}>${kind === 'from' ? 'A' : 'B'}</text>`}
    <text class="map-place-name" x=${x > WIDTH - 90 ? x - 12 : x + 12} y=${low ? y - 12 : y + 18} text-anchor=${x > WIDTH - 90 ? 'end' : 'start'}>${name}</text>
  </g>`;
}

// The map: one ride's way, and all cars. chosen: the form's places, shown while no ride is followed.
export function CityMap({ rides, ride, chosen, choose }) {
  const layer = useRef();
  const latest = useRef();
  latest.current = { rides, followed: ride?.flow_id };
  const cars = useRef();
  useEffect(() => {
    cars.current = driveCars(layer.current, () => latest.current);
    return cars.current.end;
  }, []);
  useEffect(() => cars.current.wake());
  const { from, to } = ride ?? chosen;
  const ways = ride && waysOf(ride);
  const title = ride ? `Map: ${ride.passenger} from ${from} to ${to}` : 'Map of the city';

  return html`<svg class="map" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${title}>
    <rect class="map-land" width=${WIDTH} height=${HEIGHT} />
    ${PARKS.map(([x, y, width, height]) => html`<rect key=${x} class="map-park" x=${x} y=${y} width=${width} height=${height} rx="6" />`)}
    <path class="map-water" d="M-20 300C90 250 150 330 240 355S360 300 470 350 640 470 720 440 860 330 920 360" />
    <${Streets} />
    ${ways && html`<path class="map-way map-approach" d=${line(ways.approach)} /><path class="map-way map-trip" d=${line(ways.trip)} />`}
    ${Object.entries(PLACES).map(([name, at]) => html`<${Place} key=${name} name=${name} at=${at} kind=${name === from ? 'from' : name === to ? 'to' : ''} choose=${() => choose(name)} />`)}
    <g ref=${layer}></g>
  </svg>`;
}
