// The published peer over an exec channel, one step of a whole run at a time.
//
//	node peer_steps.mjs CONFIG-JSON
//
// CONFIG: {channel, delayMs, local, remote, apiUrl}; channel is the words
// before a command, which the other end's shell gets; each exec is made
// delayMs later.  A line of stdin names a step: "in" carries the workspace
// in, "serve" starts gateway and worker, "agent" runs true, "stop" ends both,
// "back" merges what the sandbox changed; "execs" does nothing.  Each is
// answered by a line with its seconds, all execs so far, and our memory in
// KiB; after "serve" also baseUrl, token and gateway, the id of its process.
// Ends with its input.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { prepareCommandManagedRuntime } from
	"@paperclipai/adapter-utils/command-managed-runtime";
import {
	createCommandManagedSandboxCallbackBridgeQueueClient,
	createSandboxCallbackBridgeAsset,
	createSandboxCallbackBridgeToken,
	startSandboxCallbackBridgeServer,
	startSandboxCallbackBridgeWorker,
} from "@paperclipai/adapter-utils/sandbox-callback-bridge";
import { callApi } from "./peer_call.mjs";

const { channel, delayMs, local, remote, apiUrl } = JSON.parse(process.argv[2]);
const runtimeDir = `${remote}/.paperclip-runtime/bench`;
const queueDir = `${runtimeDir}/paperclip-bridge/queue`;
let execs = 0;

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

const runner = {
	execute: async ({ command, args = [], cwd, env = {}, stdin }) => {
		execs++;
		const words = ["env", ...Object.entries(env).map(
			([name, value]) => `${name}=${value}`), command, ...args];
		const script = `cd ${quoted(cwd ?? "/")} && exec ` +
			words.map(quoted).join(" ");
		if (delayMs > 0)
			await sleep(delayMs);
		return await new Promise((resolve, reject) => {
			const child = spawn(channel[0], [...channel.slice(1), script]);
			const out = { stdout: "", stderr: "" };
			for (const name of ["stdout", "stderr"]) {
				child[name].setEncoding("utf8");
				child[name].on("data", (text) => { out[name] += text; });
			}
			child.on("error", reject);
			child.on("close", (exitCode, signal) => resolve({
				exitCode, signal, timedOut: false, ...out,
				pid: child.pid, startedAt: null,
			}));
			child.stdin.on("error", () => {});
			child.stdin.end(stdin ?? "");
		});
	},
};

let prepared, asset, server, worker;

const steps = {
	execs: async () => {},
	in: async () => {
		prepared = await prepareCommandManagedRuntime({
			runner, spec: { remoteCwd: remote, shellCommand: "sh" },
			adapterKey: "bench", workspaceLocalDir: local,
		});
	},
	serve: async () => {
		const bridgeToken = createSandboxCallbackBridgeToken();
		asset = await createSandboxCallbackBridgeAsset();
		server = await startSandboxCallbackBridgeServer({
			runner, remoteCwd: remote, queueDir, bridgeToken,
			assetRemoteDir: `${runtimeDir}/paperclip-bridge/server`,
			bridgeAsset: asset, shellCommand: "sh", maxQueueDepth: 1024,
		});
		worker = await startSandboxCallbackBridgeWorker({
			client: createCommandManagedSandboxCallbackBridgeQueueClient(
				{ runner, remoteCwd: remote, shellCommand: "sh" }),
			queueDir, handleRequest: callApi(apiUrl),
		});
		return { baseUrl: server.baseUrl, token: bridgeToken,
			gateway: server.pid };
	},
	agent: async () => {
		const done = await runner.execute({ command: "true", cwd: remote });
		assert.equal(done.exitCode, 0, done.stderr);
	},
	stop: async () => {
		await worker.stop();
		await server.stop();
		await asset.cleanup();
	},
	back: async () => { await prepared.restoreWorkspace(); },
};

for await (const name of createInterface({ input: process.stdin })) {
	const begin = performance.now();
	const more = await steps[name]();
	console.log(JSON.stringify({
		seconds: (performance.now() - begin) / 1000, execs,
		rssKib: Math.round(process.memoryUsage.rss() / 1024), ...more,
	}));
}
process.exit(0);
