// One stream for all tabs of a browser: the tab that holds the lock reads, the others hear from it.
// Six connections are all that a browser opens to one address; a stream in each tab would use them up.
const HIDDEN_MS = 60_000;
const AGAIN_MS = 1000;
const NAME = `mini_flink ${location.pathname}`;
const WHO = "who reads?";

// Both are missing where the page comes over plain HTTP from another host: then each tab reads for itself.
const canShare = Boolean(navigator.locks && window.BroadcastChannel);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Share {
  #channel = canShare ? new BroadcastChannel(NAME) : null;
  #read;
  #greeting;
  #leads = false;
  #stop = null;
  #wake = null;
  #isBarred = false;
  #isHidden = false;

  // read(signal) reads until the stream ends; take(name, message, id) hears what another tab has read;
  // greeting() is what a tab that comes later is told first.
  constructor({ read, take, greeting }) {
    this.#read = read;
    this.#greeting = greeting;
    if (!this.#channel) return;
    this.#channel.onmessage = ({ data: { name, message, id } }) => {
      if (name !== WHO) take(name, message, id);
      else if (this.#leads) for (const one of greeting()) this.tell(...one);
    };
  }

  tell(name, message, id) {
    if (this.#leads) this.#channel?.postMessage({ name, message, id });
  }

  // A tab without the token cannot read, and must not keep another from it.
  bar(isBarred) {
    this.#isBarred = isBarred;
    this.#turn();
    if (!isBarred) this.#channel?.postMessage({ name: WHO });
  }

  async run() {
    let timer = null;
    const look = () => {
      clearTimeout(timer);
      // Whoever looks away for a minute hands the stream to another tab, or closes it.
      if (document.hidden) timer = setTimeout(() => this.#hide(true), HIDDEN_MS);
      else this.#hide(false);
    };
    document.addEventListener("visibilitychange", look);
    look();
    this.#channel?.postMessage({ name: WHO });
    for (;;) {
      if (this.#isBarred || this.#isHidden) await new Promise((resolve) => (this.#wake = resolve));
      else await this.#take();
    }
  }

  #hide(isHidden) {
    this.#isHidden = isHidden;
    this.#turn();
  }

  #turn() {
    if (this.#isBarred || this.#isHidden) this.#stop?.abort();
    else this.#wake?.();
  }

  async #take() {
    const { signal } = (this.#stop = new AbortController());
    if (!canShare) return this.#lead(signal);
    try {
      await navigator.locks.request(NAME, { signal }, () => this.#lead(signal));
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  async #lead(signal) {
    this.#leads = true;
    while (!signal.aborted) {
      await this.#read(signal);
      if (!signal.aborted) await pause(AGAIN_MS);
    }
    this.#leads = false;
  }
}
