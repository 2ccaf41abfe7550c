// The published peers, as package.json pins them; they are installed in the
// folder $PEERS.  And what the tests of this folder share.
import { spawn } from "node:child_process";
import { access } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const packages = {
	"2026.707": "@paperclipai/adapter-utils",
	"2026.916": "newest-peer",
};

// A module of a peer's: load("2026.707", "sandbox-callback-bridge").
export function load(version, module) {
	return import(pathToFileURL(path.join(process.env.PEERS, "node_modules",
		packages[version], "dist", `${module}.js`)));
}

export const exists = (file) => access(file).then(() => true, () => false);

export async function until(look, what) {
	for (let i = 0; i < 2000; i++) {
		if (await look())
			return;
		await sleep(5);
	}
	throw new Error(`never: ${what}`);
}

// Runs a program: {code, stdout, stderr}, buffers; input is its stdin.
export function run(command, args, { input = "", ...options } = {}) {
	return new Promise((resolve, reject) => {
		const child = spawn(command, args, options);
		const parts = { stdout: [], stderr: [] };
		for (const name of ["stdout", "stderr"])
			child[name].on("data", (part) => parts[name].push(part));
		child.on("error", reject);
		child.on("close", (code) => resolve({ code,
			stdout: Buffer.concat(parts.stdout),
			stderr: Buffer.concat(parts.stderr) }));
		child.stdin.on("error", () => {});
		child.stdin.end(input);
	});
}

// An exec channel as the peers have it (CommandManagedRuntimeRunner): text in,
// text out, everything at the end.  Here its other end is this machine.
export const runner = {
	execute: ({ command, args = [], cwd, env = {}, stdin, timeoutMs, onLog }) =>
		new Promise((resolve, reject) => {
			const startedAt = new Date().toISOString();
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
				child[name].on("data", (text) => {
					out[name] += text;
					onLog?.(name, text);
				});
			}
			child.on("error", reject);
			child.on("close", (exitCode, signal) => {
				clearTimeout(timer);
				resolve({ exitCode, signal, timedOut, ...out,
					pid: child.pid, startedAt });
			});
			child.stdin.on("error", () => {});
			child.stdin.end(stdin ?? "");
		}),
};
