const AT_ONCE = 5;

// Does something with each of many, a few at a time. {refused, problem}: how many were refused, and the last refusal.
export async function withEach(ids, act, told = () => {}) {
  const rest = [...ids];
  const result = { refused: 0, problem: null };
  let done = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (rest.length > 0) {
      try { await act(rest.shift()); } catch (problem) { result.problem = problem; result.refused++; }
      told(++done);
    }
  }));
  return result;
}
