// Listeners by topic. on() returns the function that ends it.
export function createEmitter() {
  const topics = new Map();
  return {
    on(topic, listener) {
      if (!topics.has(topic)) topics.set(topic, new Set());
      topics.get(topic).add(listener);
      return () => topics.get(topic).delete(listener);
    },
    emit(topic, value) {
      for (const listener of [...(topics.get(topic) ?? [])]) listener(value);
    },
  };
}
