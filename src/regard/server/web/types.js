/**
 * The values that the modules hand to each other, and that are kept in the browser.
 *
 * @typedef {{x1: number, y1: number, x2: number, y2: number, label: string, image: number, confidence: number | null}} Box
 *   in pixels of picture number `image` of the conversation, counted from 0
 * @typedef {{x: number, y: number, label: string, image: number, confidence: number | null}} Point
 *
 * @typedef {object} Seen  what the model saw of one picture, page or clip (the server's MediaReport)
 * @property {"image" | "video" | "page"} kind
 * @property {string} name
 * @property {number} width            pixels, as given
 * @property {number} height
 * @property {number} resized_width    pixels, as seen
 * @property {number} resized_height
 * @property {number} num_visual_tokens
 * @property {number} num_frames
 * @property {number[]} frame_times_s
 * @property {number | null} duration_s
 * @property {number | null} page
 * @property {boolean} cache_hit
 *
 * @typedef {object} Medium  a file that was added
 * @property {string} id
 * @property {"image" | "video" | "pdf"} kind
 * @property {string} name
 * @property {Blob} blob
 * @property {number} [width]
 * @property {number} [height]
 * @property {string} [fileId]   on the server, if it was uploaded
 *
 * @typedef {{role: "user", text: string, media: string[]}} Question
 *
 * @typedef {object} Answer
 * @property {"assistant"} role
 * @property {string} text
 * @property {string} thinking
 * @property {number | null} thinkingSeconds
 * @property {Box[]} boxes
 * @property {Point[]} points
 * @property {Seen[]} seen
 * @property {string | null} finish      why it ended: stop, length, repetition, stopped
 * @property {string | null} error       in words
 * @property {Usage | null} usage
 * @property {number | null} seconds     from the question to the last word
 * @property {string} model
 *
 * @typedef {{prompt_tokens: number, completion_tokens: number}} Usage
 * @typedef {Question | Answer} Turn
 * @typedef {{id: string, title: string, isNamed: boolean, created: number, updated: number, turns: Turn[]}} Conversation
 *
 * @typedef {{name: string, title: string, settings: Record<string, number | null>, source?: string}} Preset
 * @typedef {object} Model
 * @property {string} id
 * @property {{is_thinking?: boolean, max_model_len?: number, device?: string, dtype?: string,
 *   defaults?: Record<string, number>, max_body_bytes?: number, max_file_bytes?: number}} [regard]
 */
export {};
