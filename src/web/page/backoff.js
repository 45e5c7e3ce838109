// The pauses between attempts to connect: 50 ms, doubling to 5 s, with jitter. The first attempt
// comes at once.

const FIRST = 50;
const LONGEST = 5000;

export class Backoff {
  #next = 0;
  #random;

  constructor(random = Math.random) {
    this.#random = random;
  }

  /** How long to wait before the next attempt, in milliseconds. */
  pause() {
    const pause = this.#next;
    this.#next = Math.min(Math.max(pause * 2, FIRST), LONGEST);
    // From half of it on, so that pages that lost a gateway together do not all come back at once.
    return pause / 2 + (pause / 2) * this.#random();
  }

  /**
   * The next attempt comes at once: a connection was of use, or something happened that makes
   * success likely.
   */
  reset() {
    this.#next = 0;
  }
}
