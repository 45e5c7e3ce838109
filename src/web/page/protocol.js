// What page and gateway say to each other: text messages are JSON, binary messages are output and
// typing.

/** The most that is typed with one message, in bytes: as in any request to the server. */
export const MOST_TYPED = 64 * 1024;

/** Kinds of binary messages from the gateway. */
export const OUTPUT = 0;
export const SCREEN = 1;

/** Bytes of a binary message before what it carries: its kind and an offset. */
const HEAD = 9;

/** The close codes after which the page does not connect again by itself. */
export const CLOSE = { LINK: 4001, TOLD: 4002, REVOKED: 4003, ENDED: 4004 };

/** A binary message from the gateway; null if it is none. */
export function decodeBinary(buffer) {
  if (buffer.byteLength < HEAD) return null;
  const view = new DataView(buffer);
  const kind = view.getUint8(0);
  const offset = Number(view.getBigUint64(1, true));
  if (kind > SCREEN || !Number.isSafeInteger(offset)) return null;
  return { kind, offset, bytes: new Uint8Array(buffer, HEAD) };
}

/** What is typed, with its place in its stream. */
export function encodeInput(stream, offset, bytes) {
  const message = new Uint8Array(stream.length + 8 + bytes.length);
  message.set(stream);
  new DataView(message.buffer).setBigUint64(stream.length, BigInt(offset), true);
  message.set(bytes, stream.length + 8);
  return message;
}

/**
 * A text message from the gateway; null if it is none. Of a type that is not known, it is an object
 * all the same.
 */
export function decodeText(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  const isMessage = typeof message === "object" && message !== null && typeof message.type === "string";
  return isMessage ? message : null;
}

/** Bytes as hexadecimal digits. */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** So many random bytes. */
export function randomBytes(count) {
  return crypto.getRandomValues(new Uint8Array(count));
}
