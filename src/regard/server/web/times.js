/**
 * Times in an answer: "1:05", "0:01:05.5", "12.5 s", "<3.0 seconds>". Where the conversation has a clip, each is a link
 * that goes there. A time behind the clip's end is left alone: it is some other time.
 */

const TIME = /<?\b(?:(?:(\d{1,2}):)?(\d{1,3}):(\d{2}(?:\.\d+)?)|(\d+(?:\.\d+)?)\s?(?:s|sec|secs|second|seconds))\b>?/gi;
const SLACK_S = 1;

/**
 * @param {string} text
 * @returns {{start: number, end: number, seconds: number}[]}
 */
export function findTimes(text) {
  const found = [];
  for (const match of text.matchAll(TIME)) {
    const [whole, hours, minutes, seconds, plain] = match;
    const isClock = plain === undefined;
    if (isClock && Number(seconds) >= 60) continue;
    const start = match.index, end = start + whole.length;
    if (/[\d.:]/.test(text[start - 1] ?? "") || isClock && /^(?::\d|\.\d)/.test(text.slice(end))) continue;
    found.push({start, end, seconds: isClock ? Number(hours ?? 0) * 3600 + Number(minutes) * 60 + Number(seconds) : Number(plain)});
  }
  return found;
}

/**
 * Make links of the times in an element.
 * @param {HTMLElement} root
 * @param {number} durationS
 * @param {(seconds: number) => void} go
 */
export function linkTimes(root, durationS, go) {
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (texts.nextNode()) nodes.push(/** @type {Text} */ (texts.currentNode));
  for (const node of nodes) {
    if (node.parentElement?.closest("a, button, .math, .code-head")) continue;
    const times = findTimes(node.data).filter(({seconds}) => seconds <= durationS + SLACK_S);
    for (const {start, end, seconds} of times.reverse()) {
      const rest = node.splitText(start);
      rest.splitText(end - start);
      const link = document.createElement("a");
      link.className = "time";
      link.href = `#t=${seconds}`;
      link.title = "Show this moment";
      link.textContent = rest.data;
      link.addEventListener("click", (event) => {
        event.preventDefault();
        go(seconds);
      });
      rest.replaceWith(link);
    }
  }
}
