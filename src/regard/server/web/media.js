/**
 * Files that people add: what they are, how they look small, and how they are sent.
 *
 * @typedef {import("./types.js").Medium} Medium
 */
import {upload} from "./api.js";
import {h} from "./dom.js";

const VIDEO_NAMES = /\.(mp4|avi|mkv|mov|webm|m4v|mpe?g|wmv|flv)$/i;
const IMAGE_NAMES = /\.(png|jpe?g|webp|gif|bmp|tiff?|heic|avif)$/i;
const INLINE_BYTES = 2 * 1024 * 1024; // larger files are uploaded once instead of being sent with each question

/** @type {WeakMap<Blob, string>} */
const urls = new WeakMap();

/** An address for the page's own use. @param {Blob} blob */
export function urlOf(blob) {
  let url = urls.get(blob);
  if (!url) urls.set(blob, (url = URL.createObjectURL(blob)));
  return url;
}

/** What a file is, or null. @param {File | Blob} file @returns {Medium["kind"] | null} */
export function kindOf(file) {
  const name = file instanceof File ? file.name : "";
  if (file.type === "application/pdf" || /\.pdf$/i.test(name)) return "pdf";
  if (file.type.startsWith("video/") || VIDEO_NAMES.test(name)) return "video";
  if (file.type.startsWith("image/") && file.type !== "image/svg+xml" || IMAGE_NAMES.test(name)) return "image";
  return null;
}

/** @param {File | Blob} file @param {string} [name] @returns {Medium | null} */
export function mediumOf(file, name) {
  const kind = kindOf(file);
  if (!kind) return null;
  const called = name ?? (file instanceof File && file.name ? file.name : `pasted.${file.type.split("/")[1] ?? "png"}`);
  return {id: newId(), kind, name: called, blob: file};
}

export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One picture of the screen, or null if the person changed their mind. @returns {Promise<Medium | null>} */
export async function takeScreenshot() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia({video: true});
  } catch {
    return null;
  }
  try {
    const video = h("video", {muted: true, playsinline: true});
    video.srcObject = stream;
    await video.play();
    await new Promise((resolve) => setTimeout(resolve, 250)); // the picker has to leave the screen
    const canvas = h("canvas", {width: video.videoWidth, height: video.videoHeight});
    canvas.getContext("2d").drawImage(video, 0, 0);
    /** @type {Blob | null} */
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    return blob && mediumOf(blob, `screenshot ${new Date().toLocaleTimeString().replaceAll(":", ".")}.png`);
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}

/** A small likeness for lists. @param {Medium} medium */
export function thumbnail(medium) {
  if (medium.kind === "image") {
    const image = h("img", {src: urlOf(medium.blob), alt: "", draggable: "false"});
    image.addEventListener("error", () => image.replaceWith(card(medium)));
    return image;
  }
  if (medium.kind === "video") {
    const video = h("video", {src: `${urlOf(medium.blob)}#t=0.1`, muted: true, playsinline: true, preload: "metadata", tabindex: "-1", "aria-hidden": "true"});
    video.addEventListener("error", () => video.replaceWith(card(medium)));
    return video;
  }
  return card(medium);
}

/** A file that cannot be shown: its name and kind. @param {Medium} medium */
export function card(medium) {
  const suffix = medium.name.includes(".") ? medium.name.split(".").pop() : medium.kind;
  return h("span", {class: "card", icon: medium.kind === "video" ? "film" : "file"}, h("span", {}, (suffix ?? "").toUpperCase().slice(0, 5)));
}

/**
 * The part of a message that stands for a medium.
 * @param {Medium} medium
 * @param {Record<string, number>} limits  min_pixels, max_pixels, fps
 * @param {{signal: AbortSignal, maxInline?: number, keep: (medium: Medium) => unknown}} how
 */
export async function partOf(medium, limits, {signal, maxInline = INLINE_BYTES, keep}) {
  const {fps, ...pixels} = limits;
  const options = medium.kind === "video" ? (fps === undefined ? {} : {fps}) : pixels;
  if (medium.blob.size > maxInline) {
    if (!medium.fileId) {
      medium.fileId = await upload(medium.blob, medium.name, signal);
      await keep(medium);
    }
    return {type: "file", file: {file_id: medium.fileId}, ...options};
  }
  const url = await dataUrl(medium.blob, medium.kind);
  if (medium.kind === "pdf") return {type: "file", file: {file_data: url, filename: medium.name}, ...options};
  if (medium.kind === "video") return {type: "video_url", video_url: {url}, ...options};
  return {type: "image_url", image_url: {url}, ...options};
}

const TYPES = {image: "image/png", video: "video/mp4", pdf: "application/pdf"};

/** @param {Blob} blob @param {Medium["kind"]} kind @returns {Promise<string>} */
function dataUrl(blob, kind) {
  const typed = blob.type ? blob : new Blob([blob], {type: TYPES[kind]});
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Error("A file of this conversation cannot be read any more. Add it again."));
    reader.readAsDataURL(typed);
  });
}
