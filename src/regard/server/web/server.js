/** What is known of the server: whether it can be reached, its model and presets. Asks again while it is away. */
import {ApiError, apiKey, getJson} from "./api.js";

const AGAIN_S = 5;

export class Server extends EventTarget {
  constructor() {
    super();
    /** @type {"asking" | "ready" | "away" | "locked"} */
    this.state = "asking";
    /** @type {import("./types.js").Model | null} */
    this.model = null;
    /** @type {import("./types.js").Preset[]} */
    this.presets = [];
    this.words = "";
  }

  async look() {
    try {
      const models = await getJson("v1/models");
      this.model = models.data[0] ?? null;
      this.presets = (await getJson("v1/presets")).data;
      this.state = "ready";
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      this.state = status === 401 ? "locked" : "away";
      this.words = error instanceof Error ? error.message : "";
    }
    this.dispatchEvent(new Event("change"));
    if (this.state === "away") setTimeout(() => this.look(), AGAIN_S * 1000);
  }

  /** @param {string} key */
  unlock(key) {
    apiKey.set(key);
    return this.look();
  }

  /** A request failed in a way that says something about the server. @param {unknown} error */
  notice(error) {
    if (!(error instanceof ApiError)) return;
    if (error.status !== 0 && error.status !== 401) return;
    if (this.state !== "ready") return;
    this.state = error.status === 401 ? "locked" : "away";
    this.dispatchEvent(new Event("change"));
    if (this.state === "away") setTimeout(() => this.look(), AGAIN_S * 1000);
  }
}
