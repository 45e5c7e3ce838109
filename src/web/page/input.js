// What is typed, kept until the server has it, so that it can be sent again on another connection
// and is typed once.
//
// The server knows a stream for ten minutes after its last use. A page that was away for longer
// cannot know what was typed, so it sends none of that again and says so.

import { MOST_TYPED, encodeInput, hex, randomBytes } from "./protocol.js";

/** The most that is kept, in bytes. */
export const MOST_KEPT = 1024 * 1024;

/**
 * How long what was sent may be sent again, in milliseconds: a minute less than the server knows a
 * stream.
 */
export const RESENT_FOR = 9 * 60 * 1000;

export class InputQueue {
  #stream = randomBytes(16);
  /**
   * The offset of the first byte that is kept, of the first that was never sent, and of the next
   * one typed.
   */
  #kept = 0;
  #sent = 0;
  #end = 0;
  #pieces = [];
  /** When something was last sent or answered. */
  #used = null;

  get stream() {
    return this.#stream;
  }

  /** Bytes that the server has not taken, as far as is known. */
  get unanswered() {
    return this.#end - this.#kept;
  }

  /** Takes what is typed. Returns false, and takes none of it, if too much waits already. */
  push(bytes) {
    if (this.unanswered + bytes.length > MOST_KEPT) return false;
    for (let at = 0; at < bytes.length; at += MOST_TYPED) {
      const piece = bytes.slice(at, at + MOST_TYPED);
      this.#pieces.push({ offset: this.#end, bytes: piece });
      this.#end += piece.length;
    }
    return true;
  }

  /** The messages to send on this connection that were not sent yet. */
  unsent(now = Date.now()) {
    const pieces = this.#pieces.filter(({ offset }) => offset >= this.#sent);
    this.#sent = this.#end;
    if (pieces.length > 0) this.#used = now;
    return pieces.map(({ offset, bytes }) => encodeInput(this.#stream, offset, bytes));
  }

  /** The server has all below this offset of a stream. */
  answered(stream, offset, now = Date.now()) {
    if (stream !== hex(this.#stream) || offset <= this.#kept || offset > this.#end) return;
    this.#used = now;
    this.#pieces = this.#pieces.filter((piece) => piece.offset + piece.bytes.length > offset);
    this.#kept = offset;
    if (this.#pieces.length > 0 && this.#pieces[0].offset < offset) {
      const first = this.#pieces[0];
      first.bytes = first.bytes.subarray(offset - first.offset);
      first.offset = offset;
    }
  }

  /**
   * On a new connection all that is kept is sent again. Returns bytes of which nobody knows whether
   * they were typed.
   */
  reconnect(now = Date.now()) {
    const isOver = this.#used !== null && now - this.#used > RESENT_FOR;
    const unknown = isOver ? this.#sent - this.#kept : 0;
    if (isOver) this.#renew();
    this.#sent = this.#kept;
    return unknown;
  }

  /** Forgets everything: another session is typed into. */
  clear() {
    this.#sent = this.#end;
    this.#renew();
  }

  /** Another stream, of what was never sent. */
  #renew() {
    const unsent = this.#pieces.filter(({ offset }) => offset >= this.#sent);
    this.#stream = randomBytes(16);
    this.#pieces = [];
    [this.#kept, this.#sent, this.#end, this.#used] = [0, 0, 0, null];
    unsent.forEach(({ bytes }) => this.push(bytes));
  }
}
