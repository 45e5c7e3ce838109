// A server and a gateway of the tests' own, as a person starts them: in a directory of their own,
// on a port of their own.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { constants } from "node:fs";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { until } from "./browser.mjs";

const BINARY =
  process.env.FUGUE_BINARY ?? fileURLToPath(new URL("../../target/debug/fugue-server", import.meta.url));

const run = promisify(execFile);

/** The environment without what a session or a person's settings would change. */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("FUGUE_") && !name.startsWith("XDG_")),
);

export class RealGateway {
  #directory;
  #server;
  #web;
  #port = 0;

  /** `options`: `server` and `web`, more arguments of each. */
  static async start({ server = [], web = [] } = {}) {
    const gateway = new RealGateway();
    gateway.#directory = await mkdtemp(join(tmpdir(), "fugue-web-"));
    gateway.webArguments = web;
    gateway.#server = gateway.#spawn(["serve", ...server]);
    await until(
      () =>
        gateway.run("list").then(
          () => true,
          () => false,
        ),
      "a server",
    );
    await gateway.startWeb();
    return gateway;
  }

  get socket() {
    return join(this.#directory, "socket");
  }

  get origin() {
    return `http://127.0.0.1:${this.#port}`;
  }

  #spawn(parameters) {
    const environment = { ...ENVIRONMENT, HOME: this.#directory, SHELL: "/bin/sh" };
    const child = spawn(BINARY, ["--socket", this.socket, ...parameters], {
      env: environment,
      cwd: this.#directory,
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (child.said += data));
    return child;
  }

  /** Runs a command, and returns what it prints. */
  async run(...parameters) {
    const environment = { ...ENVIRONMENT, HOME: this.#directory, SHELL: "/bin/sh" };
    const options = { env: environment, cwd: this.#directory, timeout: 30_000 };
    const { stdout } = await run(BINARY, ["--socket", this.socket, ...parameters], options);
    return stdout;
  }

  /** Starts the gateway, on the port that it had before. */
  async startWeb() {
    const web = this.#spawn(["web", "--listen", `127.0.0.1:${this.#port}`, ...this.webArguments]);
    this.#web = web;
    await until(() => /127\.0\.0\.1:[1-9]\d*\n/.test(web.said) || web.exitCode !== null, "a gateway");
    assert.equal(web.exitCode, null, web.said);
    this.#port = Number(/127\.0\.0\.1:([1-9]\d*)\n/.exec(web.said)[1]);
  }

  /** Ends the gateway without a word to anyone. */
  async killWeb() {
    // One that could not start has ended already.
    if (this.#web.exitCode !== null || this.#web.signalCode !== null) return;
    const gone = new Promise((done) => this.#web.once("exit", done));
    this.#web.kill("SIGKILL");
    await gone;
  }

  /**
   * A session that prints what a test tells it to, and keeps what is typed. With a `size` such as 80x24 it
   * keeps that.
   */
  async add(name, { size } = {}) {
    const path = (kind) => join(this.#directory, `${name}.${kind}`);
    await run("mkfifo", [path("printed")]);
    await writeFile(path("typed"), "");
    const script = `stty raw -echo; cat < /dev/tty > '${path("typed")}' & cat '${path("printed")}'; exit $(cat '${path("status")}')`;
    const printed = await this.run("new", "-d", name, ...(size ? ["--size", size] : []), "--", "sh", "-c", script);
    const pipe = await open(path("printed"), constants.O_WRONLY);
    return new RealSession(this, name, printed.trim(), path, pipe);
  }

  /** The address of a link. */
  async share(session, ...parameters) {
    const which = session ? [session.name] : ["--all"];
    const printed = await this.run("share", ...which, "--url", this.origin, ...parameters);
    const token = /#([A-Za-z0-9_-]{22})\s/.exec(printed)?.[1];
    assert.ok(token, printed);
    return `${this.origin}/s/#${token}`;
  }

  async list() {
    return JSON.parse(await this.run("list", "--json"));
  }

  async stop() {
    await this.killWeb();
    const gone = new Promise((done) => this.#server.once("exit", done));
    await this.run("stop").catch(() => this.#server.kill("SIGKILL"));
    await gone;
    await rm(this.#directory, { recursive: true, force: true });
  }
}

class RealSession {
  #gateway;
  #path;
  #pipe;

  constructor(gateway, name, id, path, pipe) {
    this.#gateway = gateway;
    this.name = name;
    this.id = id;
    this.#path = path;
    this.#pipe = pipe;
  }

  async print(text) {
    await this.#pipe.writeFile(text);
  }

  get typed() {
    return readFile(this.#path("typed"));
  }

  async info() {
    return (await this.#gateway.list()).find(({ name }) => name === this.name);
  }

  /** Waits until so many watch it. */
  watchedBy(count) {
    return until(async () => (await this.info()).clients === count, `${count} watch ${this.name}`);
  }

  /** Ends its program. */
  async finish(status) {
    await writeFile(this.#path("status"), `${status}`);
    await this.#pipe.close();
  }
}
