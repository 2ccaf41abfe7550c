// Trees as tables have them: by path, what is there.
//
//	"text"              a file, 0644		null	nothing
//	{ text, mode }      a file			{ link: "target" }
//	{ dir: mode }       a folder			{ fifo: true }
import { createHash } from "node:crypto";
import { execFile } from "node:child_process";
import { chmod, lstat, mkdir, readFile, readdir, readlink, rm, symlink,
	writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const octal = (mode) => (mode & 0o7777).toString(8);
const OUTSIDE = ".paperclip-runtime";

// Makes a tree so, in the order given; parents come by themselves.
export async function makeTree(root, tree) {
	await mkdir(root, { recursive: true });
	for (const [name, entry] of Object.entries(tree)) {
		const file = path.join(root, name);
		const stat = await lstat(file).catch(() => null);
		const { dir, link, fifo, text, mode = 0o644 } =
			typeof entry === "string" ? { text: entry } : entry ?? {};
		if (stat !== null && !(dir && stat.isDirectory()))
			await rm(file, { recursive: true });
		if (entry === null)
			continue;
		await mkdir(path.dirname(file), { recursive: true });
		if (dir) {
			await mkdir(file, { recursive: true });
			await chmod(file, dir);
		} else if (link) {
			await symlink(link, file);
		} else if (fifo) {
			await promisify(execFile)("mkfifo", [file]);
		} else {
			await writeFile(file, text);
			await chmod(file, mode);
		}
	}
}

// What is there, by path: "file 644 text", "dir 755", "link target".
export async function readTree(root, below = "", out = {}) {
	for (const name of (await readdir(path.join(root, below))).sort()) {
		const where = path.join(below, name);
		const file = path.join(root, where);
		const stat = await lstat(file);
		if (where === OUTSIDE)
			continue;
		if (stat.isSymbolicLink())
			out[where] = `link ${await readlink(file)}`;
		else if (stat.isFile())
			out[where] = `file ${octal(stat.mode)} ` +
				await readFile(file, "utf8");
		else if (!stat.isDirectory())
			out[where] = "special";
		else {
			out[where] = `dir ${octal(stat.mode)}`;
			await readTree(root, where, out);
		}
	}
	return out;
}

// Where two such trees differ: { path: [in one, in the other] }.
export function compareTrees(one, other) {
	const names = new Set([...Object.keys(one), ...Object.keys(other)]);
	return Object.fromEntries([...names].sort().
		filter((name) => one[name] !== other[name]).
		map((name) => [name, [one[name] ?? null, other[name] ?? null]]));
}

// A snapshot of the peer's, and a manifest of ours, in one form:
// { path: "file MODE SHA256" | "dir" | "link TARGET" }.
export function snapshotOf({ entries }) {
	return Object.fromEntries([...entries].map(([name, entry]) => [name,
		entry.kind === "file" ? `file ${octal(entry.mode)} ${entry.hash}` :
			entry.kind === "dir" ? "dir" : `link ${entry.target}`]));
}

export function manifestOf(text) {
	const lines = text.toString().trim().split("\n").slice(1).
		map((line) => JSON.parse(line));
	return Object.fromEntries(lines.map((entry) => [
		entry.path ?? `base64:${entry.pathBase64}`,
		entry.type === "file" ? `file ${octal(entry.mode)} ${entry.sha256}` :
			entry.type === "dir" ? "dir" : `link ${entry.target}`]));
}

export const sha256 = (bytes) =>
	createHash("sha256").update(bytes).digest("hex");
