// The peer's snapshot and merge against pc-tarsync's, on the same trees.
//
//	node sync.mjs FOLDER
//
// In the table of merges, every row with `differs` is a departure that is
// listed in sync.md and pc-tools(7), and the table says in which paths the
// results differ: there and nowhere else.
import assert from "node:assert/strict";
import { cp, lstat, mkdir, readdir, utimes } from
	"node:fs/promises";
import { existsSync } from "node:fs";
import path from "node:path";
import { load, run } from "./peers.mjs";
import { compareTrees, makeTree, manifestOf, readTree, sha256, snapshotOf }
	from "./trees.mjs";

const root = process.argv[2];
const { captureDirectorySnapshot, mergeDirectoryWithBaseline } =
	await load("2026.707", "workspace-restore-merge");
const { excludePatternMatches } = await load("2026.707", "exclude-patterns");
const EXCLUDE = [".paperclip-runtime", "node_modules", "*/cache"];
const env = { ...process.env, XDG_STATE_HOME: path.join(root, "state") };

// --- merges -----------------------------------------------------------------

// base: what was sent; source: then done to the sandbox's, target: to the
// host's.  differs: [the peer's, ours] by path; saved: the files and
// links that we keep elsewhere; fails: the peer does, half way.
const merges = [
{	what: "the source adds",
	base: { a: "1" },
	source: { b: "2", "d/e/f": "3", l: { link: "a" }, x: { dir: 0o755 },
		s: { text: "#!", mode: 0o755 }, "a b\nc": "4", "ö": "5" } },
{	what: "the source changes content, mode, target",
	base: { a: "1", m: "2", l: { link: "a" } },
	source: { a: "2", m: { text: "2", mode: 0o600 }, l: { link: "m" } } },
{	what: "the source deletes",
	base: { a: "1", l: { link: "a" }, "d/e/f": "2", k: "3" },
	source: { a: null, l: null, d: null } },
{	what: "only the target changes",
	base: { a: "1", b: "2", "d/e": "3" },
	target: { a: "2", b: null, c: "4", d: null } },
{	what: "both change the same",
	base: { a: "1", b: "1", "d/e": "1" },
	source: { a: "2", b: null, c: "3", d: null },
	target: { a: "2", b: null, c: "3", d: null } },
{	what: "each changes its own",
	base: { a: "1", b: "1", "d/e": "1", "d/f": "1" },
	source: { a: "2", "d/e": "2", "d/g": "2" },
	target: { b: "3", "d/f": "3", "d/h": "3" } },
{	what: "the source deletes what the target changed",
	base: { a: "1", "d/e": "1", l: { link: "a" } },
	source: { a: null, "d/e": null, l: null },
	target: { a: "2", "d/e": "2", l: { link: "b" } } },
{	what: "a deleted folder where the target added",
	base: { "d/e": "1", "d/f/g": "1" },
	source: { d: null },
	target: { "d/h": "2" } },
{	what: "the target deletes what the source changed",
	base: { a: "1", "d/e": "1" },
	source: { a: "2", "d/e": "2" },
	target: { a: null, d: null } },
{	what: "a file becomes a folder, and the reverse",
	base: { a: "1", "d/e": "1", f: "1", l: { link: "a" } },
	source: { a: null, "a/b": "2", d: "2", f: { link: "a" }, l: "2" } },
{	what: "the target has a folder for a file that the source deletes",
	base: { a: "1" },
	source: { a: null },
	target: { a: null, "a/b": "2" } },
{	what: "excluded on both sides",
	base: { a: "1", "node_modules/b": "1", "d/cache/c": "1" },
	source: { node_modules: null, "d/cache": null, "node_modules/n": "2" },
	target: { "node_modules/b": "3" } },
{	what: "a FIFO in a file's place is a file deleted",
	base: { a: "1", b: "1" },
	source: { a: { fifo: true }, f: { fifo: true } } },

// The tree is the same; but ours keeps what the host had.
{	what: "both change it: the host's version is saved",
	base: { a: "1", l: { link: "a" } },
	source: { a: "2", l: { link: "b" }, n: "2" },
	target: { a: "3", l: { link: "c" }, n: "3" },
	saved: { a: "file 644 3", l: "link c", n: "file 644 3" } },
{	what: "a folder in the place of what the host changed",
	base: { a: "1" },
	source: { a: null, "a/b": "2" },
	target: { a: "3" },
	saved: { a: "file 644 3" } },
{	what: "a file in the place of a folder where the host added",
	base: { "d/e": "1" },
	source: { d: "2" },
	target: { "d/n": "3" },
	saved: { "d/e": "file 644 1", "d/n": "file 644 3" } },
{	what: "a new file in the place of the host's new folder",
	base: { a: "1" },
	source: { n: "2" },
	target: { "n/m": "3" },
	saved: { "n/m": "file 644 3" } },

// The departures.
{	what: "mode from the source, content from the host: both hold",
	base: { a: "1" },
	source: { a: { text: "1", mode: 0o755 } },
	target: { a: "3" },
	differs: { a: ["file 755 1", "file 755 3"] } },
{	what: "content from the source, mode from the host: both hold",
	base: { a: "1" },
	source: { a: "2" },
	target: { a: { text: "1", mode: 0o600 } },
	differs: { a: ["file 644 2", "file 600 2"] } },
{	what: "modes of folders are carried, whatever the umask",
	base: { "d/e": "1" },
	source: { d: { dir: 0o700 }, n: { dir: 0o777 } },
	differs: { d: ["dir 755", "dir 700"], n: ["dir 755", "dir 777"] } },
{	what: "setuid, setgid and sticky are dropped",
	base: { a: "1" },
	source: { s: { text: "2", mode: 0o6755 } },
	differs: { s: ["file 6755 2", "file 755 2"] } },
{	what: "links that lead out of the tree are held",
	base: { a: "1" },
	source: { o: { link: "/etc/passwd" }, u: { link: "../x" } },
	differs: { o: ["link /etc/passwd", null], u: ["link ../x", null] },
	saved: { o: "link /etc/passwd", u: "link ../x" } },
{	what: "never through a link",
	base: { "d/e": "1", "z/keep": "1" },
	source: { "d/e": "2" },
	target: { d: { link: "z" } },
	differs: { "z/e": ["file 644 2", null] },
	saved: { "d/e": "file 644 2" } },
{	what: "a parent that is no folder any more",
	base: { "d/e": "1", "d/f": "1", b: "1", z: "1" },
	source: { "d/e": "2", b: "2", z: "2" },
	target: { d: "3" },
	fails: /ENOTDIR|EEXIST/,
	differs: { z: ["file 644 1", "file 644 2"] },
	saved: { "d/e": "file 644 2" } },
{	what: "what git on the host would execute is held",
	base: { ".git/config": "1", ".git/HEAD": "1" },
	source: { ".git/config": "2", ".git/hooks/h": { text: "2", mode: 0o755 },
		".git/HEAD": "2" },
	differs: { ".git/config": ["file 644 2", "file 644 1"],
		".git/hooks": ["dir 755", null],
		".git/hooks/h": ["file 755 2", null] },
	saved: { ".git/config": "file 644 2",
		".git/hooks/h": "file 755 2" } },
{	what: "a repository that both changed stays whole",
	base: { ".git/HEAD": "1", ".git/refs/a": "1" },
	source: { ".git/HEAD": "2" },
	target: { ".git/refs/a": "3" },
	differs: { ".git/HEAD": ["file 644 2", "file 644 1"] },
	saved: { ".git/HEAD": "file 644 2",
		".git/refs/a": "file 644 1" } },
{	what: "git's locks are never carried",
	base: { ".git/HEAD": "1" },
	source: { ".git/index.lock": "2" },
	differs: { ".git/index.lock": ["file 644 2", null] } },
];

async function must(status, program, args, options) {
	const { code, stdout, stderr } = await run(program, args,
		{ env, ...options });
	assert.equal(code, status, `${args.join(" ")}: ${stderr}`);
	return stdout;
}

const excludes = EXCLUDE.slice(1).flatMap((pattern) => ["-x", pattern]);

// The host's folder and the sandbox's, as they are when the run has ended.
async function prepare(dir, { base, source = {}, target = {} }) {
	for (const who of ["peer", "ours"])
		await makeTree(path.join(dir, who, "host"), base);
	const baseline = await captureDirectorySnapshot(
		path.join(dir, "peer/host"), { exclude: EXCLUDE });
	const host = path.join(dir, "ours/host"), box = path.join(dir, "box");
	const archive = await must(0, "pc-tarsync", ["pack", "-C", host,
		"--manifest", path.join(dir, "base"), ...excludes]);
	await must(0, "pc-tarsync", ["unpack", "-C", box, ...excludes],
		{ input: archive });
	await makeTree(box, source);
	for (const who of ["peer", "ours"])
		await makeTree(path.join(dir, who, "host"), target);
	return baseline;
}

async function mergeOurs(dir) {
	const delta = await must(0, "pc-tarsync", ["pack", "-C",
		path.join(dir, "box"), "--since", path.join(dir, "base")]);
	await must(0, "pc-tarsync", ["merge", "-C", path.join(dir, "ours/host"),
		"--baseline", path.join(dir, "base")], { input: delta });
}

async function readSaved(host) {
	const conflicts = path.join(host, ".paperclip-runtime/conflicts");
	const runs = existsSync(conflicts) ? await readdir(conflicts) : [];
	assert.ok(runs.length <= 1);
	const tree = runs.length === 0 ? {} :
		await readTree(path.join(conflicts, runs[0]));
	return Object.fromEntries(Object.entries(tree).
		filter(([, entry]) => !entry.startsWith("dir ")));
}

async function tryMerge(row, n) {
	const dir = path.join(root, `merge${n}`);
	const baseline = await prepare(dir, row);
	const peers = mergeDirectoryWithBaseline({ baseline,
		sourceDir: path.join(dir, "box"),
		targetDir: path.join(dir, "peer/host") });
	await (row.fails ? assert.rejects(peers, row.fails) : peers);
	await mergeOurs(dir);
	assert.deepEqual(compareTrees(await readTree(path.join(dir, "peer/host")),
		await readTree(path.join(dir, "ours/host"))), row.differs ?? {},
	row.what);
	assert.deepEqual(await readSaved(path.join(dir, "ours/host")),
		row.saved ?? {}, row.what);
}

// --- what no tree shows -----------------------------------------------------

// A sandbox's folder that has gone, or was emptied: the peer takes that for
// everything deleted.
async function tryLostSandbox() {
	const dir = path.join(root, "lost");
	const baseline = await prepare(dir, { base: { a: "1", "d/e": "1" } });
	await mergeDirectoryWithBaseline({ baseline,
		sourceDir: path.join(dir, "none"),
		targetDir: path.join(dir, "peer/host") });
	assert.deepEqual(await readTree(path.join(dir, "peer/host")), {});
	const none = path.join(dir, "none");
	await must(100, "pc-tarsync",
		["pack", "-C", none, "--since", path.join(dir, "base")]);
	// Nor is another's archive a delta of ours.
	const other = await must(0, "pc-tarsync", ["pack", "-C", root]);
	await must(100, "pc-tarsync", ["merge", "-C", path.join(dir, "ours/host"),
		"--baseline", path.join(dir, "base")], { input: other });
	assert.deepEqual(await readTree(path.join(dir, "ours/host")), {
		a: "file 644 1", d: "dir 755", "d/e": "file 644 1" });
}

// A name that is not UTF-8: the peer cannot carry it.
async function tryBytes() {
	const dir = path.join(root, "bytes");
	const baseline = await prepare(dir, { base: { a: "1" } });
	const name = Buffer.concat([Buffer.from(`${dir}/box/`),
		Buffer.from([0xff])]);
	await cp(path.join(dir, "box/a"), path.join(dir, "a"));
	await must(0, "sh", ["-c", 'cp "$1" "$2/$(printf "\\377")"', "sh",
		path.join(dir, "a"), path.join(dir, "box")]);
	assert.ok((await lstat(name)).isFile());
	await assert.rejects(mergeDirectoryWithBaseline({ baseline,
		sourceDir: path.join(dir, "box"),
		targetDir: path.join(dir, "peer/host") }), /ENOENT/);
	await mergeOurs(dir);
	const names = await readdir(path.join(dir, "ours/host"),
		{ encoding: "buffer" });
	assert.ok(names.some((bytes) => bytes.equals(Buffer.from([0xff]))));
}

// Times are carried; the peer's are those of the merge.
async function tryTimes() {
	const dir = path.join(root, "times");
	const baseline = await prepare(dir, { base: { a: "1" },
		source: { b: "2" } });
	await utimes(path.join(dir, "box/b"), 1e9, 1e9);
	await mergeDirectoryWithBaseline({ baseline,
		sourceDir: path.join(dir, "box"),
		targetDir: path.join(dir, "peer/host") });
	await mergeOurs(dir);
	const time = async (who) =>
		(await lstat(path.join(dir, who, "host/b"))).mtimeMs;
	assert.equal(await time("ours"), 1e12);
	assert.ok(await time("peer") > 1e12);
}

// --- snapshots --------------------------------------------------------------

async function trySnapshots() {
	const dir = path.join(root, "snapshot");
	const long = "n".repeat(255);
	await makeTree(dir, {
		a: "1", empty: "", x: { text: "2", mode: 0o755 },
		r: { text: "3", mode: 0o400 }, "d/e/f": "4", e: { dir: 0o755 },
		p: { dir: 0o700 }, l: { link: "a" }, o: { link: "/etc" },
		dangling: { link: "nowhere" }, f: { fifo: true }, [long]: "5",
		" a\tb\nc\\d\"": "6", "größe": "7", "-rf": "8", ".hidden": "9",
		"node_modules/m": "10", "d/cache/c": "11", "cached": "12",
		".paperclip-runtime/x": "13", "d/.paperclip-runtime/x": "14",
		s: { text: "15", mode: 0o4755 }, ".git/index.lock": "16",
		".git/HEAD": "17", "d/a.lock": "18",
	});
	const peers = snapshotOf(await captureDirectorySnapshot(dir,
		{ exclude: EXCLUDE }));
	const ours = manifestOf(await must(0, "pc-tarsync",
		["snapshot", "-C", dir, ...excludes]));
	assert.deepEqual(compareTrees(peers, ours), {
		".git/index.lock": [`file 644 ${sha256("16")}`, null],
		s: [`file 4755 ${sha256("15")}`, `file 755 ${sha256("15")}`],
	});
	const none = path.join(dir, "a");
	assert.deepEqual(snapshotOf(await captureDirectorySnapshot(none)), {});
	await must(100, "pc-tarsync", ["snapshot", "-C", none]);
}

// Each pattern as the peer matches it, path by path.
async function tryPatterns() {
	const dir = path.join(root, "patterns");
	const names = ["x", "y", "xx", "d/x", "d/y", "d/d/x", "x1/x/y", "d2/x/y/z",
		"y/x/x", "_x", "x_/y", "b/node_modules/m", "._x", "d3/._x"];
	await mkdir(dir);
	for (const [n, name] of names.entries())
		await makeTree(path.join(dir, String(n)), { [name]: "1" });
	const patterns = ["x", "x/*", "*/x", "*/x/*", "d/x", "d/x/*", "*/d/x",
		"node_modules", "*/node_modules", "*/node_modules/*", "d", "*/y"];
	for (const pattern of patterns)
		for (const [n] of names.entries()) {
			const tree = path.join(dir, String(n));
			const kept = Object.keys(manifestOf(await must(0, "pc-tarsync",
				["snapshot", "-C", tree, "-x", pattern])));
			const all = [...(await captureDirectorySnapshot(tree,
				{ exclude: [pattern] })).entries.keys()];
			assert.deepEqual(kept.sort(), all.sort(),
				`${pattern}: ${names[n]}`);
			assert.ok(all.every((name) =>
				!excludePatternMatches(name, pattern)));
		}
	// Ours alone: wildcards within a component.
	const kept = manifestOf(await must(0, "pc-tarsync",
		["snapshot", "-C", path.join(dir, "13"), "-x", "*/._*"]));
	assert.deepEqual(Object.keys(kept), ["d3"]);
	assert.equal(excludePatternMatches("d3/._x", "*/._*"), false);
	return patterns.length * names.length;
}

process.umask(0o022);
for (const [n, row] of merges.entries())
	await tryMerge(row, n);
await tryLostSandbox();
await tryBytes();
await tryTimes();
await trySnapshots();
const matched = await tryPatterns();
console.log(`${merges.length} merges, ` +
	`${merges.filter((row) => row.differs).length} of them departures, ` +
	`${matched} exclusions`);
