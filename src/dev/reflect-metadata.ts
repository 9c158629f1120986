/**
 * The certificate library's container asks for the Reflect metadata proposal and stops without it. It keeps notes on its own
 * classes and nothing more, so the three functions that it calls are given here; a real polyfill, if loaded, stays.
 */
type Key = string | symbol;

interface ReflectMetadata {
  getMetadata?: (key: Key, target: object) => unknown;
  getOwnMetadata?: (key: Key, target: object) => unknown;
  defineMetadata?: (key: Key, value: unknown, target: object) => void;
}

const reflect = Reflect as ReflectMetadata;

if (reflect.getMetadata === undefined) {
  const notes = new WeakMap<object, Map<Key, unknown>>();
  reflect.getMetadata = (key, target) => {
    for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null)
      if (notes.get(at)?.has(key)) return notes.get(at)?.get(key);
    return undefined;
  };
  reflect.getOwnMetadata = (key, target) => notes.get(target)?.get(key);
  reflect.defineMetadata = (key, value, target) => {
    notes.set(target, (notes.get(target) ?? new Map<Key, unknown>()).set(key, value));
  };
}
