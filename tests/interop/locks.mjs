// The lock folders of the peer against pc-lock --dir: each keeps the other
// out, waits for it, and takes over from a dead one.
//
//	node locks.mjs FOLDER
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exists, load, run, runner, until } from "./peers.mjs";

const root = process.argv[2];
const bridge = await load("2026.707", "sandbox-callback-bridge");
const { withDirectoryMergeLock } = await load("2026.707",
	"workspace-restore-merge");
const target = path.join(root, "work");
const restoreLock = `${target}.paperclip-restore.lock`;
const ROUNDS = 30;

const pcLock = async (...args) => (await run("pc-lock", args)).code;

// pc-lock that holds a lock until release() is called, or kill().
async function hold(lock) {
	const child = spawn("pc-lock", ["--dir", lock, "sh", "-c",
		"echo held; read -r line"], { stdio: ["pipe", "pipe", "inherit"] });
	await once(child.stdout, "data");
	const { pid } = JSON.parse(
		await readFile(path.join(lock, "owner.json"), "utf8"));
	const end = async (how) => {
		const closed = once(child, "close");
		how();
		await closed;
	};
	return {
		release: () => end(() => child.stdin.end()),
		kill: () => end(() => {
			child.kill("SIGKILL");
			process.kill(pid, "SIGKILL");
		}),
	};
}

// A peer's action that needs a lock waits while we have it, and goes on.
async function waitsForUs(what, lock, action) {
	const holder = await hold(lock);
	let done = false;
	const acting = action().then((value) => { done = true; return value; });
	await sleep(200);
	assert.equal(done, false, `${what}: did not wait`);
	await holder.release();
	const value = await acting;
	assert.equal(await exists(lock), false, `${what}: left its lock`);
	// What a killed holder of ours has left is taken over.
	await (await hold(lock)).kill();
	assert.equal(await exists(lock), true);
	await action();
	assert.equal(await exists(lock), false);
	return value;
}

async function restoreLocks() {
	await withDirectoryMergeLock(target, async () => {
		assert.equal(await pcLock("-n", "--dir", restoreLock, "true"), 1);
		const { code, stdout } = await run("pc-lock",
			["--status", "--json", restoreLock]);
		assert.equal(code, 1);
		assert.equal(JSON.parse(stdout).pid, process.pid);
		assert.equal(await pcLock("--break", restoreLock), 1);
		const merge = await run("pc-tarsync", ["merge", "-C", target,
			"--baseline", path.join(root, "base"), "-t", "200ms"]);
		assert.equal(merge.code, 111);
		assert.match(merge.stderr.toString(), new RegExp(
			`Timed out waiting for workspace restore lock at ${restoreLock}`));
	});
	let release;
	const released = new Promise((resolve) => { release = resolve; });
	const peers = withDirectoryMergeLock(target, () => released);
	await until(() => exists(path.join(restoreLock, "owner.json")), "held");
	const ours = run("pc-lock", ["--dir", restoreLock, "echo", "ours"]);
	await sleep(100);
	release();
	await peers;
	assert.equal((await ours).stdout.toString(), "ours\n");

	// A peer that was killed with it.
	const dead = spawn("true");
	await once(dead, "close");
	await mkdir(restoreLock);
	await writeFile(path.join(restoreLock, "owner.json"),
		JSON.stringify({ pid: dead.pid, createdAt: "t" }));
	assert.equal(await pcLock("-t", "2s", "--dir", restoreLock, "true"), 0);
	assert.equal(await exists(restoreLock), false);

	await waitsForUs("restore", restoreLock, () =>
		withDirectoryMergeLock(target, async () => {}));
}

async function bridgeLocks() {
	const asset = await bridge.createSandboxCallbackBridgeAsset();
	const assetRemoteDir = path.join(root, "asset");
	await mkdir(assetRemoteDir);
	await waitsForUs("upload",
		path.join(assetRemoteDir, ".paperclip-bridge-upload.lock"),
		() => bridge.syncSandboxCallbackBridgeEntrypoint({ runner,
			remoteCwd: root, assetRemoteDir, bridgeAsset: asset }));
	await asset.cleanup();

	const clients = {
		fs: bridge.createFileSystemSandboxCallbackBridgeQueueClient(),
		command: bridge.createCommandManagedSandboxCallbackBridgeQueueClient(
			{ runner, remoteCwd: root }),
	};
	for (const [name, client] of Object.entries(clients)) {
		const file = path.join(root, `${name}.json`);
		const { wrote } = await waitsForUs(`response, ${name}`,
			`${file}.paperclip-write.lock`,
			() => client.writeResponseFile(file, name));
		assert.equal(wrote, true);
		assert.equal(await readFile(file, "utf8"), name);
	}
}

// Both count in one file, a step at a time, which loses what overlaps.  Ours
// lets the peer have its turn: a peer that looks while a folder goes takes the
// next one, of a live holder, for a dead one's.
async function excludeEachOther() {
	const file = path.join(root, "count");
	await writeFile(file, "0");
	const add = async () => {
		const count = Number(await readFile(file, "utf8"));
		await sleep(1);
		await writeFile(file, String(count + 1));
	};
	const peers = (async () => {
		for (let i = 0; i < ROUNDS; i++)
			await withDirectoryMergeLock(target, add);
	})();
	const ours = (async () => {
		for (let i = 0; i < ROUNDS; i++) {
			assert.equal(await pcLock("--dir", restoreLock, "sh", "-c",
				'n=$(cat "$1"); sleep 0.001; echo $((n + 1)) >"$1"',
				"sh", file), 0);
			await sleep(20);
		}
	})();
	await Promise.all([peers, ours]);
	assert.equal(Number(await readFile(file, "utf8")), 2 * ROUNDS);
}

await mkdir(target);
const { code } = await run("pc-tarsync", ["pack", "-C", target, "--manifest",
	path.join(root, "base"), "-o", path.join(root, "archive")]);
assert.equal(code, 0);
await restoreLocks();
await bridgeLocks();
await excludeEachOther();
console.log(`4 kinds of lock, ${2 * ROUNDS} turns`);
