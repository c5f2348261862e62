/** The server's HTTP API: JSON, streams of events, uploads. It knows no page. */

const KEY = "regard.key";

/** What went wrong, in words for people. `status` is 0 if the server was not reached. */
export class ApiError extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The key that requests carry; it lives as long as the tab. */
export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  /** @param {string} key */
  set: (key) => key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY),
};

/**
 * @param {string} path  relative to the page
 * @param {RequestInit} options
 */
async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (apiKey.get()) headers.set("Authorization", `Bearer ${apiKey.get()}`);
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {...options, headers});
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError("The server cannot be reached. See that it is still running, then try again.", 0);
  }
  if (!response.ok) throw new ApiError(await words(response), response.status);
  return response;
}

/** The error's own words, or what its status means. @param {Response} response */
async function words(response) {
  let message = "";
  try {
    message = (await response.json()).error?.message ?? "";
  } catch {
    message = "";
  }
  if (response.status === 401) return "The server wants an API key.";
  if (message) return sentence(message);
  if (response.status === 413) return "This is more than the server takes at once. Send fewer or smaller files.";
  return `The server answered with status ${response.status} and no words. Try again, or look into its log.`;
}

/** @param {string} text */
export function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** @param {string} path */
export async function getJson(path) {
  return (await request(path)).json();
}

/** A file that the server keeps. @param {string} id @returns {Promise<Blob>} */
export async function getFile(id) {
  return (await request(`v1/files/${id}/content`)).blob();
}

/**
 * The chunks of a streamed chat completion.
 * @param {object} body
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<any>}
 */
export function streamChat(body, signal) {
  return stream("v1/chat/completions", body, signal, () => false);
}

/**
 * The events of an application: progress, then the result.
 * @param {string} name
 * @param {{inputs: string[], options: object}} body
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<any>}
 */
export function streamApp(name, body, signal) {
  return stream(`v1/apps/${name}`, body, signal, (event) => event.type === "result");
}

/** @param {string} path @param {object} body @param {AbortSignal} signal @param {(event: any) => boolean} isLast @returns {AsyncGenerator<any>} */
async function* stream(path, body, signal, isLast) {
  const response = await request(path, {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify(body),
    signal,
  });
  if (!response.body) throw new ApiError("The server sent nothing. Try again.", 0);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const {done, value} = await reader.read();
      rest += decoder.decode(value, {stream: !done});
      const events = rest.split(/\r?\n\r?\n/);
      rest = events.pop() ?? "";
      for (const event of events) {
        const data = dataOf(event);
        if (data === "[DONE]") return;
        if (!data) continue;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new ApiError(sentence(chunk.error.message ?? "the answer broke off"), 500);
        yield chunk;
        if (isLast(chunk)) return;
      }
      if (done) throw new ApiError("The connection broke before the answer was finished. Try again.", 0);
    }
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
    throw new ApiError("The connection broke before the answer was finished. Try again.", 0);
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The data of one event; comments and other fields are passed over. @param {string} event */
function dataOf(event) {
  return event
    .split(/\r?\n/)
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).trimStart())
    .join("\n");
}

/**
 * Upload a file; gives its id.
 * @param {Blob} blob
 * @param {string} name
 * @param {AbortSignal} signal
 * @returns {Promise<string>}
 */
export async function upload(blob, name, signal) {
  const form = new FormData();
  form.append("purpose", "user_data");
  form.append("file", blob, name);
  return (await (await request("v1/files", {method: "POST", body: form, signal})).json()).id;
}
