// An agent, run by adapter.mjs over the peer's runner interface, and again.
//
//	node adapter_run.mjs FOLDER TOOLS API-URL
//
// TOOLS is the static file.  The API is tests/bench/api.c, which tells what it
// was asked; its token is "host".
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { runAgent } from "./adapter.mjs";
import { runner } from "./peers.mjs";
import { makeTree, readTree } from "./trees.mjs";

const [root, toolsFile, url] = process.argv.slice(2);
const workspace = path.join(root, "host");
const commands = [];

// Counts, and is as slow as a provider's.
const channel = {
	execute: async (input) => {
		commands.push([input.command, ...input.args].join(" "));
		return runner.execute(input);
	},
};

const script = `
set -eu
call() {
	curl -sS -H "authorization: Bearer $PAPERCLIP_API_KEY" "$@"
}
call "$PAPERCLIP_API_URL/api/agents/me?a=b" >me.json
call -H "content-type: application/json" -d '{"n":1}' \\
    "$PAPERCLIP_API_URL/api/issues/7/comments" >comment.json
call -o denied.json -w "%{http_code}\\n" \\
    "$PAPERCLIP_API_URL/api/companies/c/secrets"
for n in 1 2 3 4 5 6 7 8; do
	call -o /dev/null -H "content-type: application/json" -d '{}' \\
	    "$PAPERCLIP_API_URL/api/issues/$n/comments" &
done
wait
echo changed >a
rm -f d/gone
cat host-only 2>/dev/null || echo $SECRET >&2
exit 3
`;

await makeTree(workspace, { a: "1\n", b: "1\n", "d/gone": "1\n",
	"s p": { text: "x", mode: 0o755 } });
let output = { stdout: "", stderr: "" };
const options = {
	toolsFile, workspace, baseline: path.join(root, "baseline"),
	remote: path.join(root, "box"), api: { url, token: "host", rules: "@default" },
	agent: { argv: ["sh", "-c", script], env: { SECRET: "hidden" } },
	onOutput: (name, text) => {
		output[name] += text;
		// Meanwhile somebody works in the host's folder.
		if (name === "stdout")
			made = makeTree(workspace, { b: "2\n", "host-only": "1\n" });
	},
};
let made;

const first = await runAgent(channel, options);
await made;
assert.equal(first.exit, 3);
assert.equal(first.uploaded, true);
assert.deepEqual(output, { stdout: "403\n", stderr: "hidden\n" });
const tree = await readTree(workspace);
assert.equal(tree.a, "file 644 changed\n");
assert.equal(tree.b, "file 644 2\n");
assert.equal(tree["host-only"], "file 644 1\n");
assert.equal(tree["d/gone"], undefined);
const answer = async (name) =>
	JSON.parse(await readFile(path.join(workspace, name), "utf8"));
const me = await answer("me.json");
assert.equal(me.query, "?a=b");
assert.equal(me.authorization, "Bearer host");
assert.equal((await answer("comment.json")).body, '{"n":1}');
assert.match((await answer("denied.json")).error, /^Route not allowed/);
assert.deepEqual(first.report.at(-1),
	{ applied: 4, deleted: 1, kept: 0, conflicts: 0, held: 0 });
assert.deepEqual(await readdir(path.join(root, "box/queue/claimed")), []);
assert.deepEqual(await readdir(path.join(root, "box/queue/requests")), []);
assert.ok(!commands.some((line) => /hidden|Bearer/.test(line)));
const execs = commands.length;

// Again, in the same sandbox: the tools are there, the host's changes come.
output = { stdout: "", stderr: "" };
const second = await runAgent(channel, options);
assert.equal(second.uploaded, false);
assert.equal(output.stdout, "403\n1\n");

// An agent that cannot be started is told, and nothing is left behind.
const none = await runAgent(channel, { ...options,
	agent: { argv: ["/no/such/program"] } });
assert.equal(none.exit, 127);
assert.match(none.error, /no\/such\/program|No such file/);
console.log(`${execs} execs for 11 calls`);
