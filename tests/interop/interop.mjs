// The published peer, in one of its two roles.
//
//	node interop.mjs PEER gateway QUEUE
//	node interop.mjs PEER worker QUEUE PC-SERVE fs|command
//
// PEER is the folder that the package is installed in.  gateway: runs the
// peer's Node gateway, prints {baseUrl, token} in a line, ends on TERM.
// worker: starts PC-SERVE in place of node as the peer starts its gateway, and
// the peer's worker behind it; calls it, stops both, and checks each answer.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { access, mkdir, readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const [peerDir, role, queueDir, serve, clientName] = process.argv.slice(2);
const peer = await import(pathToFileURL(path.join(peerDir,
	"node_modules/@paperclipai/adapter-utils/dist/sandbox-callback-bridge.js")));
const token = peer.createSandboxCallbackBridgeToken();
const exists = (file) => access(file).then(() => true, () => false);

async function runGateway() {
	const asset = await peer.createSandboxCallbackBridgeAsset();
	const { readyFile } = peer.sandboxCallbackBridgeDirectories(queueDir);
	const gateway = spawn(process.execPath, [asset.entrypoint], {
		stdio: ["ignore", "ignore", "inherit"],
		env: {
			...process.env,
			...peer.buildSandboxCallbackBridgeEnv({
				queueDir, bridgeToken: token, pollIntervalMs: 10,
				responseTimeoutMs: 10000,
			}),
		},
	});
	process.on("SIGTERM", async () => {
		gateway.kill("SIGKILL");	// its own shutdown waits for clients
		await asset.cleanup();
		process.exit(0);
	});
	while (!await exists(readyFile))
		await sleep(10);
	const { baseUrl } = JSON.parse(await readFile(readyFile, "utf8"));
	console.log(JSON.stringify({ baseUrl, token }));
}

// The exec channel: a local shell.
const runner = {
	execute: ({ command, args = [], cwd, env = {}, stdin, timeoutMs }) =>
		new Promise((resolve, reject) => {
			const child = spawn(command, args,
				{ cwd, env: { ...process.env, ...env } });
			const out = { stdout: "", stderr: "" };
			let timedOut = false;
			const timer = setTimeout(() => {
				timedOut = true;
				child.kill("SIGKILL");
			}, timeoutMs ?? 30000);
			for (const name of ["stdout", "stderr"]) {
				child[name].setEncoding("utf8");
				child[name].on("data", (text) => { out[name] += text; });
			}
			child.on("error", reject);
			child.on("close", (exitCode, signal) => {
				clearTimeout(timer);
				resolve({ exitCode, signal, timedOut, ...out,
					pid: child.pid, startedAt: null });
			});
			child.stdin.on("error", () => {});
			child.stdin.end(stdin ?? "");
		}),
};

function makeClient() {
	if (clientName === "fs")
		return peer.createFileSystemSandboxCallbackBridgeQueueClient();
	return peer.createCommandManagedSandboxCallbackBridgeQueueClient(
		{ runner, remoteCwd: path.dirname(queueDir) });
}

const handled = [];

async function handleRequest(request) {
	handled.push(`${request.method} ${request.path}${request.query}`);
	if (request.query === "?slow")
		await sleep(2500);
	return {
		status: 201,
		headers: { "content-type": "application/json", etag: '"e"' },
		body: JSON.stringify(request),
	};
}

async function runWorker() {
	await mkdir(queueDir, { recursive: true });
	const asset = await peer.createSandboxCallbackBridgeAsset();
	const server = await peer.startSandboxCallbackBridgeServer({
		runner, remoteCwd: path.dirname(queueDir),
		assetRemoteDir: path.join(path.dirname(queueDir), "asset"),
		bridgeAsset: asset, queueDir, bridgeToken: token,
		nodeCommand: serve, responseTimeoutMs: 1500, maxQueueDepth: 4,
	});
	const worker = await peer.startSandboxCallbackBridgeWorker(
		{ client: makeClient(), queueDir, pollIntervalMs: 20, handleRequest });
	const call = async (method, where, body, bearer = token) => {
		const answer = await fetch(server.baseUrl + where, {
			method, body,
			headers: {
				authorization: `Bearer ${bearer}`,
				...(body && { "content-type": "application/json" }),
			},
		});
		const text = await answer.text();
		const outcome = answer.headers.get("x-paperclip-bridge-outcome");
		return { status: answer.status, text, outcome, answer };
	};

	let got = await call("GET", "/api/agents/me?a=b");
	assert.equal(got.status, 201);
	assert.equal(got.answer.headers.get("etag"), '"e"');
	assert.equal(JSON.parse(got.text).query, "?a=b");
	const body = JSON.stringify({ text: "größer \u0000 \u{1f600}" });
	got = await call("POST", "/api/issues/i/comments", body);
	assert.equal(got.status, 201);
	assert.equal(JSON.parse(got.text).body, body);
	got = await call("GET", "/api/companies/c/secrets");
	assert.equal(got.status, 403);
	got = await call("GET", "/api/agents/me", undefined, "wrong");
	assert.equal(got.status, 401);
	const many = await Promise.all([1, 2, 3].map((n) =>
		call("PATCH", `/api/issues/${n}`, `{"n":${n}}`)));
	for (const [n, { status, text }] of many.entries()) {
		assert.equal(status, 201);
		assert.equal(JSON.parse(text).path, `/api/issues/${n + 1}`);
	}
	assert.equal(handled.length, 5);

	// The handler is too slow: it ran, and the gateway must not deny that.
	got = await call("POST", "/api/issues/i/release?slow", "{}");
	assert.equal(got.status, 409);
	assert.equal(got.outcome, "indeterminate");
	assert.equal(handled.at(-1), "POST /api/issues/i/release?slow");

	// The worker stops while a call waits: it says so.
	const slow = call("GET", "/api/agents/me?slow");
	while (handled.at(-1) !== "GET /api/agents/me?slow")
		await sleep(5);
	const pending = call("POST", "/api/issues/i/comments", "{}");
	while ((await readdir(path.join(queueDir, "requests"))).length < 2)
		await sleep(5);
	await worker.stop({ drainTimeoutMs: 50 });
	assert.equal((await pending).status, 503);
	assert.ok([502, 503].includes((await slow).status));
	assert.equal(handled.length, 7);
	// Its handler ends too late, for nobody.
	await sleep(1500);

	const started = Date.now();
	await server.stop();
	assert.ok(Date.now() - started < 2000, "stop() was slow");
	await assert.rejects(fetch(server.baseUrl));
	assert.throws(() => process.kill(server.pid, 0));
	assert.equal(await exists(server.directories.readyFile), false);
	assert.equal(await exists(server.directories.pidFile), false);
	for (const name of ["requests", "responses"])
		assert.deepEqual(await readdir(path.join(queueDir, name)), []);
	await asset.cleanup();
	console.log("done");
}

await (role === "gateway" ? runGateway() : runWorker());
