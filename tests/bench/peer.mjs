// The published peer, as bench.py measures it: its gateway as a process of its
// own, and here its worker, which calls the API over kept-alive connections.
//
//	node peer.mjs QUEUE-DIR API-URL
//
// Prints {baseUrl, token, gateway, worker} in a line, the last two process
// ids, once calls are taken; ends on TERM.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import {
	buildSandboxCallbackBridgeEnv,
	createFileSystemSandboxCallbackBridgeQueueClient,
	createSandboxCallbackBridgeAsset,
	createSandboxCallbackBridgeToken,
	sandboxCallbackBridgeDirectories,
	startSandboxCallbackBridgeWorker,
} from "@paperclipai/adapter-utils/sandbox-callback-bridge";
import { callApi } from "./peer_call.mjs";

const [queueDir, apiUrl] = process.argv.slice(2);
const { readyFile } = sandboxCallbackBridgeDirectories(queueDir);
const token = createSandboxCallbackBridgeToken();
const asset = await createSandboxCallbackBridgeAsset();

const worker = await startSandboxCallbackBridgeWorker({
	client: createFileSystemSandboxCallbackBridgeQueueClient(),
	queueDir,
	handleRequest: callApi(apiUrl),
});

const gateway = spawn(process.execPath, [asset.entrypoint], {
	stdio: ["ignore", "ignore", "inherit"],
	env: {
		...process.env,
		...buildSandboxCallbackBridgeEnv({
			queueDir, bridgeToken: token, maxQueueDepth: 1024,
		}),
	},
});
gateway.on("exit", () => process.exit(1));

process.on("SIGTERM", async () => {
	gateway.removeAllListeners("exit");
	gateway.kill();
	await worker.stop({ drainTimeoutMs: 100 });
	await asset.cleanup();
	process.exit(0);
});

for (;;) {
	const text = await readFile(readyFile, "utf8").catch(() => "");
	if (text !== "") {
		console.log(JSON.stringify({
			baseUrl: JSON.parse(text).baseUrl, token,
			gateway: gateway.pid, worker: process.pid,
		}));
		break;
	}
	await sleep(20);
}
