/* global uPlot */
import { html, useEffect, useRef } from '../vendor/preact.js';
import { theme } from '../settings.js';
import { useStore } from '../store.js';

const HEIGHT = 170;

// The canvas knows no CSS variables: the colour that one stands for here and now.
function colour(element, name) {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  element.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function options(element, series, width) {
  const [line, text] = [colour(element, '--line'), colour(element, '--text-dim')];
  const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (plot, low, high) => [0, Math.max(4, Math.ceil(high * 1.1))] } },
    axes: [
      { ...axis, grid: { show: false }, space: 70, size: 28, values: (plot, values) => values.map((at) => new Date(at * 1000).toTimeString().slice(0, 5)) },
      { ...axis, size: 36, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
    ],
    series: [{}, ...series.map(({ name, css, dash }) => {
      const stroke = colour(element, css);
      return { label: name, stroke, dash, width: 1.75, points: { show: false }, fill: dash ? undefined : stroke.replace(')', ' / 8%)').replace(/rgb\((\d+), (\d+), (\d+)/, 'rgb($1 $2 $3') };
    })],
  };
}

// Lines over time. series: [{name, css variable, dash}]; read() gives uPlot's columns, again each second.
export function Chart({ title, series, read }) {
  const frame = useRef();
  const chosen = useStore(theme);
  useEffect(() => {
    let plot;
    const draw = () => {
      plot?.destroy();
      plot = new uPlot(options(frame.current, series, frame.current.clientWidth), read(), frame.current);
    };
    draw();
    const timer = setInterval(() => document.hidden || plot.setData(read()), 1000);
    const sizes = new ResizeObserver(() => plot.setSize({ width: frame.current.clientWidth, height: HEIGHT }));
    sizes.observe(frame.current);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', draw);
    return () => { clearInterval(timer); sizes.disconnect(); dark.removeEventListener('change', draw); plot.destroy(); };
  }, [chosen]);
  return html`<figure class="chart">
    <div ref=${frame} role="img" aria-label=${title}></div>
    <figcaption class="legend">${series.map(({ name, css, dash }) => html`<span key=${name}><svg viewBox="0 0 22 8" width="22" height="8" aria-hidden="true"><line x1="1" x2="21" y1="4" y2="4" class=${`legend-line ${css.slice(2)}`} stroke-dasharray=${dash?.join(' ')} /></svg>${name}</span>`)}</figcaption>
  </figure>`;
}
