// target-whatwg.mjs PROGRAM TABLE [SEED] - lib/target against the URL class.
//
// PROGRAM is the built tests/unit/target.  The targets of TABLE and generated
// ones must come out as Node has them; paths and queries that pass the check
// must be fixpoints.  The same SEED makes the same input.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

const [program, table, seed = "1"] = process.argv.slice(2);
const GENERATED = 20000;
const BASE = "http://127.0.0.1";
let state = Number(seed) >>> 0;
let tests = 0;
let failures = 0;

// A 32-bit xorshift; it never stays at zero.
function below(n) {
	state ||= 0x9e3779b9;
	state ^= state << 13;
	state ^= state >>> 17;
	state ^= state << 5;
	return (state >>> 0) % n;
}

const pick = (list) => list[below(list.length)];

function report(faults, name) {
	tests++;
	for (const fault of faults.slice(0, 10))
		console.log(`# ${fault}`);
	if (faults.length)
		failures++;
	console.log((faults.length ? "not " : "") +
	    `ok ${tests} - target: ${name}`);
}

function filter(mode, lines) {
	const input = lines.map((s) => s + "\n").join("");
	const { status, stdout, error } = spawnSync(program, [mode], {
		input: Buffer.from(input, "latin1"),
		encoding: "latin1",
		maxBuffer: 1 << 28,
	});
	const answers = stdout?.split("\n").slice(0, -1);

	if (error || status !== 0 || answers.length !== lines.length)
		throw new Error(`${program} ${mode}: failed`, { cause: error });
	return answers;
}

// What lib/target also refuses, although the standard does not.
function isPlainAuthority(authority) {
	const match = /^(?:\[[0-9a-f:.]+\]|([a-z0-9_.-]+))(?::\d*)?$/i
	    .exec(authority);
	const labels = match?.[1]?.split(".");

	if (!match)
		return false;
	if (!labels)
		return true;
	if (labels.length > 1 && labels.at(-1) === "")
		labels.pop();
	if (/^(\d+|0x[0-9a-f]*)$/i.test(labels.at(-1)))
		return /^(0|[1-9]\d*)(\.(0|[1-9]\d*)){3}$/.test(match[1]);
	return match[1].length <= 253 && labels.every((label) =>
	    label.length > 0 && label.length <= 63 && !/^xn--/i.test(label));
}

function expected(target) {
	const authority = /^(?:https?:\/\/|\/[/\\])[/\\]*([^/\\?#]*)/i
	    .exec(target)?.[1];
	const isTaken = authority !== undefined ? isPlainAuthority(authority) :
	    target === "*" || target.startsWith("/");

	if (!isTaken || /[^!-~]/.test(target) || !URL.canParse(target, BASE))
		return "bad";
	const { pathname, search } = new URL(target, BASE);
	// Whether '^' is escaped depends on the version of Node.
	return pathname.replaceAll("^", "%5E") + "\t" + search;
}

function compare(targets) {
	const answers = filter("--canonicalise", targets);
	const faults = [];

	targets.forEach((target, i) => {
		const want = expected(target);

		if (answers[i] !== want)
			faults.push([target, answers[i], want]
			    .map((s) => JSON.stringify(s)).join(" "));
	});
	if (answers.filter((s) => s !== "bad").length < targets.length / 4)
		faults.push("nearly all are bad");
	return faults;
}

const unescape = (s) => s.replace(/\\(\\|x[0-9a-f]{2})/g, (_, code) =>
    code === "\\" ? "\\" : String.fromCharCode(parseInt(code.slice(1), 16)));

const rows = readFileSync(table, "latin1").split("\n")
    .filter((row) => row !== "" && !row.startsWith("#"))
    .map((row) => row.split("\t"));
const tableTargets = rows.filter(([kind]) => kind === "canon")
    .map((row) => unescape(row[2])).filter((s) => !s.includes("\n"));

const STARTS = [
	"/", "/", "/", "/", "/", "//", "/\\", "http://", "HTTPS://", "http:/",
	"http:", "*", "", "ftp://", "//h/", "http://h:80/", "//[::1]/",
];
const HOSTS = [
	"h", "a.b", "127.0.0.1", "1.2.3", "256.1.1.1", "0x1", "a.1", "[::1]",
	"[1::2::3]", "[", "]", "u@h", "h:80", "h:", ":1", "h:65536", "..",
	"x_y-z", "xn--a", "%68", "h.", "h..", "", "08.1.1.1",
];
const PARTS = [
	"/", "/", "/", "\\", ".", "..", "%2e", "%2E", ".%2e", "%2e%2E", "%2f",
	"%5C", "%", "%4", "%00", "%c3%a9", "?", "#", "a", "b", "api", "'",
	"\"", "<", ">", "`", "{", "}", "^", "|", "[", "]", "@", ":", ";", "&",
	"=", "~", "+", "!", "%25",
];

function parts(max) {
	let s = "";

	for (let n = below(max + 1); n > 0; n--)
		s += below(20) ? pick(PARTS) :
		    String.fromCharCode(33 + below(94));
	return s;
}

function target() {
	const start = pick(STARTS);

	return start + (below(2) && start !== "/" ? pick(HOSTS) : "") +
	    parts(12);
}

// Every byte can occur, but most are such that a good many pass.
function raw(start) {
	let s = start;

	for (let n = below(10); n > 0; n--)
		s += below(25) ? pick(["a", "b", "/", ".", "%2e", "%41", "c",
			pick(PARTS)]) : String.fromCharCode(below(256));
	return s.replaceAll("\n", "");
}

function fixpoints(mode, list, property) {
	const answers = filter(mode, list);
	const passed = list.filter((_, i) => answers[i] === "ok");
	const faults = passed.filter((s) => !property(s))
	    .map((s) => JSON.stringify(s));

	if (passed.length < list.length / 10)
		faults.push(`only ${passed.length} of ${list.length} passed`);
	return faults;
}

report(compare(tableTargets), "the table agrees with URL");
report(compare(Array.from({ length: GENERATED }, target)),
    "generated targets agree with URL");
report(fixpoints("--check-path",
    Array.from({ length: GENERATED }, () => raw(below(20) ? "/" : "")),
    (path) => new URL(path, BASE).pathname === path),
    "a path that passes is its own pathname");
report(fixpoints("--check-query",
    Array.from({ length: GENERATED }, () => raw(below(20) ? "?" : "")),
    (query) => new URL("/a" + query, BASE).search === query),
    "a query that passes is its own search");
console.log(`1..${tests}`);
process.exitCode = failures ? 1 : 0;
