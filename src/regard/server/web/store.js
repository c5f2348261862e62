/**
 * What the browser keeps: conversations and their media in IndexedDB. Where a browser refuses that (private windows),
 * everything lives until the page is closed, and `isKept` says so.
 *
 * @typedef {import("./types.js").Conversation} Conversation
 * @typedef {import("./types.js").Medium} Medium
 */

const NAME = "regard";
const STORES = ["conversations", "media"];

export class Store {
  /** @param {IDBDatabase | null} database */
  constructor(database) {
    this.database = database;
    this.isKept = database !== null;
    /** @type {Record<string, Map<string, any>>} */
    this.memory = {conversations: new Map(), media: new Map()};
  }

  static async open() {
    try {
      return new Store(await opened());
    } catch {
      return new Store(null);
    }
  }

  /** Newest first. @returns {Promise<Conversation[]>} */
  async conversations() {
    const all = await this.all("conversations");
    return all.sort((a, b) => b.updated - a.updated);
  }

  /** @param {string} id @returns {Promise<Conversation | undefined>} */
  conversation(id) {
    return this.get("conversations", id);
  }

  /** @param {Conversation} conversation */
  keep(conversation) {
    return this.put("conversations", conversation);
  }

  /** @param {string} id */
  forget(id) {
    return this.remove("conversations", id);
  }

  /** @param {string} id @returns {Promise<Medium | undefined>} */
  medium(id) {
    return this.get("media", id);
  }

  /** @param {Medium} medium */
  keepMedium(medium) {
    return this.put("media", medium);
  }

  /** Forget media that no conversation names. Done when the page is opened, so that a deletion can be undone. */
  async sweep() {
    const used = new Set((await this.all("conversations")).flatMap((one) => one.turns.flatMap((turn) => turn.media ?? [])));
    for (const id of await this.keys("media")) if (!used.has(id)) await this.remove("media", id);
  }

  /** @param {string} store @param {string} id */
  get(store, id) {
    return this.database ? this.run(store, "readonly", (one) => one.get(id)) : Promise.resolve(this.memory[store].get(id));
  }

  /** @param {string} store @returns {Promise<any[]>} */
  all(store) {
    return this.database ? this.run(store, "readonly", (one) => one.getAll()) : Promise.resolve([...this.memory[store].values()]);
  }

  /** @param {string} store @returns {Promise<string[]>} */
  keys(store) {
    return this.database ? this.run(store, "readonly", (one) => one.getAllKeys()) : Promise.resolve([...this.memory[store].keys()]);
  }

  /** @param {string} store @param {{id: string}} value */
  put(store, value) {
    if (this.database) return this.run(store, "readwrite", (one) => one.put(value));
    this.memory[store].set(value.id, value);
    return Promise.resolve();
  }

  /** @param {string} store @param {string} id */
  remove(store, id) {
    if (this.database) return this.run(store, "readwrite", (one) => one.delete(id));
    this.memory[store].delete(id);
    return Promise.resolve();
  }

  /**
   * @param {string} store
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest} act
   * @returns {Promise<any>}
   */
  run(store, mode, act) {
    return new Promise((resolve, reject) => {
      const transaction = /** @type {IDBDatabase} */ (this.database).transaction(store, mode);
      const asked = act(transaction.objectStore(store));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }
}

/** @returns {Promise<IDBDatabase>} */
function opened() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => STORES.forEach((store) => asked.result.createObjectStore(store, {keyPath: "id"}));
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = asked.onblocked = () => reject(asked.error);
  });
}
