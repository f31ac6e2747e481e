// Cars on the map: where each should be follows from its ride's steps; they drive there.
import { reducesMotion } from '../settings.js';
import { driverStart, PLACES, pointOn, wayBetween } from './city.js';
import { currentStep, outcomeOf } from './model.js';
import { stepNumber } from './steps.js';

const SVG = 'http://www.w3.org/2000/svg';
const HURRY = 1.4;                  // per second: how fast a car closes in on where it should be
const MOST = 14;
const STAYS = 2500;                 // milliseconds, after the ride is over

function make(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent?.append(element);
  return element;
}

// 0 to 1: the driver comes to the passenger; 1 to 2: they drive.
function goalOf(ride) {
  const step = currentStep(ride);
  const n = stepNumber(step.type);
  const { status } = ride.steps[step.type];
  const isAtWork = status === 'BEING_PROCESSED';
  if (n === 0) return 0;
  if (n === 1) return status === 'SUCCEEDED' ? 1 : isAtWork ? 0.92 : 0.15;
  if (n === 2) return 1;
  if (n === 3) return status === 'SUCCEEDED' ? 2 : isAtWork ? 1.92 : 1.05;
  return 2;
}

export function waysOf(ride) {
  const [from, to] = [PLACES[ride.from], PLACES[ride.to]];
  return { approach: wayBetween(driverStart(ride.flow_id), from, `${ride.flow_id} approach`), trip: wayBetween(from, to, `${ride.flow_id} trip`) };
}

function makeCar(layer, ride) {
  const group = make('g', { class: 'car' }, layer);
  const body = make('g', {}, group);
  make('rect', { class: 'car-body', x: -12, y: -6.5, width: 24, height: 13, rx: 4.5 }, body);
  make('rect', { class: 'car-glass', x: 1, y: -4.5, width: 5, height: 9, rx: 1.5 }, body);
  const mark = make('text', { class: 'car-mark', y: -12, 'text-anchor': 'middle' }, group);
  return { group, body, mark, at: null, flow_id: ride.flow_id };
}

// Draws when woken, and on until every car is where it should be. read(): {rides, followed}.
export function driveCars(layer, read) {
  const cars = new Map();
  let frame = null;
  let last = performance.now();
  const small = matchMedia('(max-width: 640px)');

  function move(now) {
    const seconds = Math.min(0.1, (now - last) / 1000);
    const { rides, followed } = read();
    const shown = rides.filter((ride) => ride.flow_id === followed || (stepNumber(currentStep(ride).type) > 0 && !outcomeOf(ride)) || Date.now() - ride.changedAt < STAYS).slice(0, MOST);
    const scale = small.matches ? 1.8 : 1;
    let isMoving = shown.some((ride) => outcomeOf(ride) && ride.flow_id !== followed);
    last = now;
    for (const ride of shown) {
      if (stepNumber(currentStep(ride).type) === 0 && !ride.steps.DRIVER_MATCHED) continue;
      if (!cars.has(ride.flow_id)) cars.set(ride.flow_id, makeCar(layer, ride));
      const car = cars.get(ride.flow_id);
      const goal = goalOf(ride);
      car.at = car.at === null || reducesMotion() ? Math.floor(goal) : car.at + (goal - car.at) * (1 - Math.exp(-HURRY * seconds));
      isMoving ||= Math.abs(goal - car.at) > 0.002;
      const ways = waysOf(ride);
      const { x, y, angle } = car.at <= 1 ? pointOn(ways.approach, car.at) : pointOn(ways.trip, car.at - 1);
      const outcome = outcomeOf(ride);
      car.group.setAttribute('transform', `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
      car.body.setAttribute('transform', `rotate(${angle}) scale(${scale})`);
      car.group.setAttribute('class', `car${ride.flow_id === followed ? ' car-followed' : ''}${outcome ? ` car-${outcome}` : ''}`);
      car.mark.textContent = outcome === 'failed' ? '✕' : ride.flow_id === followed ? ride.passenger : '';
    }
    const names = new Set(shown.map(({ flow_id }) => flow_id));
    for (const [flow_id, car] of cars) {
      if (names.has(flow_id)) continue;
      car.group.remove();
      cars.delete(flow_id);
    }
    frame = isMoving ? requestAnimationFrame(move) : null;
  }
  return {
    wake() {
      if (frame !== null) return;
      last = performance.now();
      frame = requestAnimationFrame(move);
    },
    end() {
      cancelAnimationFrame(frame);
      layer.replaceChildren();
    },
  };
}
