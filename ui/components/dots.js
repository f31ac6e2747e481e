// Dots that travel along paths of an SVG drawing, one animation loop for all of them.
const TRAVEL = 550;                 // milliseconds
const MOST = 60;                    // at once; what is more arrives without a dot

export function dotsOn(group) {
  const dots = new Set();
  let frame = null;

  function draw(now) {
    for (const dot of dots) {
      const progress = Math.min(1, (now - dot.began) / TRAVEL);
      const eased = progress * progress * (3 - 2 * progress);
      const { x, y } = dot.path.getPointAtLength(dot.length * eased);
      dot.circle.setAttribute('cx', x);
      dot.circle.setAttribute('cy', y);
      if (progress === 1) {
        dot.circle.remove();
        dots.delete(dot);
        dot.arrived();
      }
    }
    frame = dots.size ? requestAnimationFrame(draw) : null;
  }

  return {
    send(path, css, arrived) {
      if (dots.size >= MOST || document.hidden) { arrived(); return; }
      const circle = document.createElementNS('http://www.w3.org/2000/svg', 'circle');
      circle.setAttribute('r', 6);
      circle.setAttribute('class', `dot ${css}`);
      group.append(circle);
      dots.add({ path, length: path.getTotalLength(), circle, arrived, began: performance.now() });
      frame ??= requestAnimationFrame(draw);
    },
    end() {
      cancelAnimationFrame(frame);
      dots.clear();
    },
  };
}
