// When the attempts of an event of a type would be, if each failed at once: the rules of evq_retry_delay() and
// evq_retry_next() in src/rules/retry.c, without their chance.

export function delayBefore(attempt, rule) {
  const last = rule.attemptDelays.at(-1);
  if (attempt <= rule.attemptDelays.length) return rule.attemptDelays[attempt - 1];
  if (last === 0) return 0;
  return Math.min(last * rule.backoffFactor ** (attempt - rule.attemptDelays.length), Math.max(rule.maxDelay, last));
}

// [{attempt, delay, at, spread, fits}], in seconds; fits: it begins within the lifespan.
export function attempts(rule, most = 50) {
  const list = [];
  let at = 0;
  for (let attempt = 1; attempt <= Math.min(rule.maxAttempts, most); attempt++) {
    const delay = delayBefore(attempt, rule);
    at += delay;
    list.push({ attempt, delay, at, spread: attempt > rule.attemptDelays.length ? rule.jitter * delay : 0, fits: at < rule.lifespan });
  }
  return list;
}
