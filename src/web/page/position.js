// How far a session's output has come, in bytes since its start. Nothing is shown twice, and no
// hole passes unseen.

import { OUTPUT } from "./protocol.js";

export class Position {
  /** The offset of the next byte of output; null before there is any. */
  offset = null;
  /** Pieces of a screen may be missing: after it was begun, and until output follows. */
  #inScreen = false;

  /** Output goes on at `offset`, after a screen if `drawn`. */
  begin(offset, drawn) {
    this.offset = offset;
    this.#inScreen = drawn;
  }

  /** What a message brings that was not there before; null if bytes are missing between. */
  take({ kind, offset, bytes }) {
    if (kind !== OUTPUT) {
      this.begin(offset, true);
      return bytes;
    }
    if (this.offset === null || offset > this.offset) return null;
    const fresh = bytes.subarray(this.offset - offset);
    this.offset += fresh.length;
    this.#inScreen &&= fresh.length === 0;
    return fresh;
  }

  /** Where to go on with another connection; null from the start. */
  resume(session) {
    if (!session) return null;
    return { session, offset: this.offset, after: this.#inScreen ? "screen" : "output" };
  }
}

/**
 * Bytes that came over one connection, and those of them that the terminal has taken: what is
 * acknowledged.
 */
export class ReceiveWindow {
  /**
   * An acknowledgement for each so many bytes; the gateway sends at most 512 KiB ahead of the last
   * one.
   */
  static STEP = 64 * 1024;
  received = 0;
  #written = 0;
  #acknowledged = 0;

  /** Bytes arrived. */
  arrived(count) {
    this.received += count;
  }

  /** The terminal took some. Returns what to acknowledge now, or null. */
  written(count) {
    this.#written += count;
    return this.#written - this.#acknowledged >= ReceiveWindow.STEP ? this.acknowledge() : null;
  }

  /** What is to be acknowledged, however little; null if nothing is. */
  acknowledge() {
    if (this.#written === this.#acknowledged) return null;
    this.#acknowledged = this.#written;
    return this.#acknowledged;
  }
}
