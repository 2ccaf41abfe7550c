// A peer's Node gateway, for our pipeline to work behind.
//
//	node gateway.mjs VERSION QUEUE
//
// Prints {baseUrl, token} in a line, and ends on TERM.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { exists, load, until } from "./peers.mjs";

const [version, queueDir] = process.argv.slice(2);
const peer = await load(version, "sandbox-callback-bridge");
const token = peer.createSandboxCallbackBridgeToken();
const asset = await peer.createSandboxCallbackBridgeAsset();
const { readyFile } = peer.sandboxCallbackBridgeDirectories(queueDir);
const gateway = spawn(process.execPath, [asset.entrypoint], {
	stdio: ["ignore", "ignore", "inherit"],
	env: {
		...process.env,
		...peer.buildSandboxCallbackBridgeEnv({
			queueDir, bridgeToken: token, pollIntervalMs: 10,
			responseTimeoutMs: Number(process.env.TIMEOUT_MS ?? 10000),
		}),
	},
});
process.on("SIGTERM", async () => {
	gateway.kill("SIGKILL");	// its own shutdown waits for clients
	await asset.cleanup();
	process.exit(0);
});
await until(() => exists(readyFile), "the peer's gateway is up");
const { baseUrl } = JSON.parse(await readFile(readyFile, "utf8"));
console.log(JSON.stringify({ baseUrl, token }));
