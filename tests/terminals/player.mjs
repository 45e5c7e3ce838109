// What asciinema's own player makes of a recording, without a page to show it on.
//
//   node player.mjs DIRECTORY FILE      (the one whose node_modules has asciinema-player)
//
// Prints {duration, cols, rows, output}: the size is the last one.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [directory, file] = process.argv.slice(2);
const calls = new Map();
const heard = { output: "" };
const events = {
    metadata: ({ duration }) => Object.assign(heard, { duration }),
    reset: ({ size }) => Object.assign(heard, size),
    resize: ({ cols, rows }) => Object.assign(heard, { cols, rows }),
    output: (data) => (heard.output += [data].flat().join("")),
};
let ended;
const end = new Promise((resolve) => (ended = resolve));
// It runs in a worker, which this stands for.
globalThis.onmessage = null;
globalThis.postMessage = ({ id, result, error, params }) => {
    if (id === undefined) {
        if (params.name === "ended" || params.name === "error") ended(params);
        else events[params.name]?.(params.event);
    } else if (error) calls.get(id).reject(new Error(JSON.stringify(error)));
    else calls.get(id).resolve(result);
};
await import(pathToFileURL(`${directory}/node_modules/asciinema-player/dist/worker.js`));
const call = (method, params) =>
    new Promise((resolve, reject) => {
        calls.set(calls.size, { resolve, reject });
        onmessage({ data: { id: calls.size - 1, method, params } });
    });

await call("new", [{ data: readFileSync(file, "utf8") }, { speed: 1000 }]);
for (const name of [...Object.keys(events), "ended", "error"]) {
    await call("addEventListener", [name]);
}
await call("terminalReady");
await call("init");
await call("play");
const { name, event } = await end;
if (name === "error") throw new Error(JSON.stringify(event));
console.log(JSON.stringify(heard));
