// pc-serve in place of a peer's gateway: started as the peer starts its own,
// with the peer's worker behind it, used, and stopped by the peer.
//
//	node worker.mjs VERSION PROGRAM fs|command QUEUE
//
// VERSION is the peer's, PROGRAM its nodeCommand, then comes which of its
// queue clients the worker has.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exists, load, run, runner, until } from "./peers.mjs";

const [version, program, clientName, queueDir] = process.argv.slice(2);
const peer = await load(version, "sandbox-callback-bridge");
const remoteCwd = path.dirname(queueDir);
const limit = peer.DEFAULT_SANDBOX_CALLBACK_BRIDGE_MAX_BODY_BYTES;
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const handled = [];

function makeClient() {
	if (clientName === "fs")
		return peer.createFileSystemSandboxCallbackBridgeQueueClient();
	return peer.createCommandManagedSandboxCallbackBridgeQueueClient(
		{ runner, remoteCwd });
}

async function handleRequest(request) {
	handled.push(`${request.method} ${request.path}${request.query}`);
	const slow = /^\?slow=(\d+)$/.exec(request.query);
	if (slow)
		await sleep(Number(slow[1]));
	return {
		status: 201,
		headers: { "content-type": "application/json", etag: '"e"' },
		body: JSON.stringify(request.path.endsWith("/attachments") ?
			{ sha256: sha256(request.body) } : request),
	};
}

async function start(asset, token, responseTimeoutMs) {
	const server = await peer.startSandboxCallbackBridgeServer({
		runner, remoteCwd, bridgeAsset: asset, queueDir,
		assetRemoteDir: path.join(remoteCwd, "asset"),
		bridgeToken: token, nodeCommand: program, responseTimeoutMs,
		maxQueueDepth: 4, maxBodyBytes: limit,
	});
	const worker = await peer.startSandboxCallbackBridgeWorker({
		client: makeClient(), queueDir, pollIntervalMs: 20, handleRequest,
		maxBodyBytes: limit,
	});
	const call = async (method, where, body, headers = {}) => {
		const answer = await fetch(server.baseUrl + where, {
			method, body, headers: {
				authorization: `Bearer ${token}`,
				...(body && { "content-type": "application/json" }),
				...headers,
			},
		});
		return { status: answer.status, text: await answer.text(),
			etag: answer.headers.get("etag"),
			outcome: answer.headers.get("x-paperclip-bridge-outcome") };
	};
	return { server, worker, call };
}

const pending = async () =>
	(await readdir(path.join(queueDir, "requests"))).length;

// Also when nobody has taken note: it is process 1's child, not ours.
function hasEnded(pid) {
	try {
		return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
	} catch {
		return true;
	}
}

async function checkCalls(call) {
	let got = await call("GET", "/api/agents/me?a=b");
	assert.equal(got.status, 201);
	assert.equal(got.etag, '"e"');
	assert.equal(JSON.parse(got.text).query, "?a=b");
	const body = JSON.stringify({ text: "größer \u0000 \u{1f600}" });
	got = await call("POST", "/api/issues/i/comments", body);
	assert.equal(got.status, 201);
	assert.equal(JSON.parse(got.text).body, body);
	got = await call("GET", "/api/companies/c/secrets");
	assert.equal(got.status, 403);
	got = await call("GET", "/api/agents/me", undefined,
		{ authorization: "Bearer wrong" });
	assert.equal(got.status, 401);
	got = await call("POST", "/api/issues/i/comments", "a",
		{ "content-type": "text/plain" });
	assert.equal(got.status, 415);
	got = await call("POST", "/api/issues/i/comments",
		`"${"a".repeat(limit - 1)}"`);
	assert.equal(got.status, 413);
	const many = await Promise.all([1, 2, 3].map((n) =>
		call("PATCH", `/api/issues/${n}`, `{"n":${n}}`)));
	for (const [n, { status, text }] of many.entries()) {
		assert.equal(status, 201);
		assert.equal(JSON.parse(text).path, `/api/issues/${n + 1}`);
	}
	assert.equal(handled.length, 5);

	// The handler is too slow: it ran, and the gateway must not deny that.
	got = await call("POST", "/api/issues/i/release?slow=2000", "{}");
	assert.equal(got.status, 409);
	assert.equal(got.outcome, "indeterminate");
	assert.equal(handled.at(-1), "POST /api/issues/i/release?slow=2000");
	await until(async () => await pending() === 0, "the late handler ends");
}

// What only the newest peer allows: its gateway takes multipart bodies, to
// attachments; what it carries to runtime tools.
async function checkNewest(call) {
	// A file of 10 MiB: bytes, which go as base64, and text, at its longest
	// in JSON.
	for (const content of [Buffer.from([0xff, 0, 0x0d]), "\0"]) {
		const form = Buffer.concat([
			Buffer.from("--x\r\ncontent-disposition: form-data; " +
				'name="file"; filename="f"\r\n\r\n'),
			Buffer.alloc(10 << 20, content),
			Buffer.from("\r\n--x--\r\n")]);
		const got = await call("POST",
			"/api/companies/c/issues/i/attachments", form,
			{ "content-type": "multipart/form-data; boundary=x" });
		assert.equal(got.status, 201);
		assert.equal(JSON.parse(got.text).sha256, sha256(form));
	}
	// Asked for its other transport, it says no, and the peer takes this one.
	const { code } = await run(program, ["server.mjs"], { env: {
		...process.env, PAPERCLIP_BRIDGE_QUEUE_DIR: queueDir,
		PAPERCLIP_API_BRIDGE_MODE: peer.SANDBOX_CALLBACK_BRIDGE_HTTP2_MODE,
		PAPERCLIP_BRIDGE_TOKEN: "t" } });
	assert.equal(code, 100);
	// The capability goes where it is asked for, and nowhere else.
	const capability = "x-paperclip-github-capability";
	for (const [where, want] of [["/api/issues/i/comments", undefined],
		["/runtime-tools/github/credentials", "c"]]) {
		const got = await call("POST", where, "{}", { [capability]: "c" });
		assert.equal(got.status, 201);
		assert.equal(JSON.parse(got.text).headers[capability], want);
	}
}

async function main() {
	await mkdir(queueDir, { recursive: true });
	const asset = await peer.createSandboxCallbackBridgeAsset();
	const token = peer.createSandboxCallbackBridgeToken();
	let { server, worker, call } = await start(asset, token, 1500);

	await checkCalls(call);

	// It stops within its drain deadline: what is there is handled.
	let slow = call("POST", "/api/issues/a/comments?slow=300", "{}");
	await until(() => handled.at(-1).endsWith("?slow=300"), "it is handled");
	let waits = call("POST", "/api/issues/b/comments", "{}");
	await until(async () => await pending() === 2, "another is pending");
	await worker.stop({ drainTimeoutMs: 1200 });
	assert.equal((await slow).status, 201);
	assert.equal((await waits).status, 201);

	// Nobody works.  The gateway stops while a client waits: it is told.
	waits = call("GET", "/api/agents/me");
	await until(async () => await pending() === 1, "a request is there");
	let began = Date.now();
	const stopping = server.stop();
	await until(() => hasEnded(server.pid), "the gateway ends");
	assert.ok(Date.now() - began < 2000, "the gateway stopped slowly");
	await stopping;
	assert.equal((await waits).status, 502);
	assert.equal(await pending(), 0);

	({ server, worker, call } = await start(asset, token, 15000));
	if (version !== "2026.707")
		await checkNewest(call);

	// Beyond the drain deadline: it says so, to all that wait.
	const count = handled.length;
	slow = call("GET", "/api/agents/me?slow=2500");
	await until(() => handled.length === count + 1, "it is handled");
	waits = call("POST", "/api/issues/i/comments", "{}");
	await until(async () => await pending() === 2, "another is pending");
	began = Date.now();
	await worker.stop({ drainTimeoutMs: 50 });
	assert.ok(Date.now() - began < 2000, "the worker stopped slowly");
	assert.equal((await waits).status, 503);
	assert.match((await waits).text,
		/Bridge worker stopped before request could be handled\./);
	assert.ok([502, 503].includes((await slow).status));
	assert.equal(handled.length, count + 1);
	await sleep(2500);	// its handler ends too late, for nobody

	// A second gateway for this queue: the peer learns why there is none.
	await assert.rejects(start(asset, token, 1500), /pc-serve: .*another/s);
	await run("pc-serve", ["-q", queueDir, "--stop"]);
	await until(() => fetch(server.baseUrl).then(() => false, () => true),
		"the first one is down");

	({ server, worker } = await start(asset, token, 1500));
	await worker.stop();
	await server.stop();
	await assert.rejects(fetch(server.baseUrl));
	assert.ok(hasEnded(server.pid));
	assert.equal(await exists(server.directories.readyFile), false);
	assert.equal(await exists(server.directories.pidFile), false);
	for (const name of ["requests", "responses"])
		assert.deepEqual(await readdir(path.join(queueDir, name)), []);
	// The token is in no log.
	const log = await readFile(server.directories.logFile, "utf8");
	assert.ok(!log.includes(token));
	await asset.cleanup();
	console.log(`${version} worker by ${clientName}: ${handled.length} calls`);
}

await main();
