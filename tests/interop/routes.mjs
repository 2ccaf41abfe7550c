// Our built-in rules against the route and header lists of the peers they are
// named for: route by route, both ways, and then by trying.
//
//	node routes.mjs
import assert from "node:assert/strict";
import { load, run } from "./peers.mjs";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const CAPABILITY = "x-paperclip-github-capability";

// Where we and a peer judge differently, by intention (pc-tools(7)).
const departures = [
	// what                     method  path                        peer ours
	["an encoded slash",        "GET",  "/api/agents/a%2fb",         200, 400],
	["an encoded dot segment",  "GET",  "/api/agents/%2e%2e",        200, 400],
	["an encoded control byte", "GET",  "/api/agents/a%00",          200, 400],
	["a malformed escape",      "GET",  "/api/agents/a%",            200, 400],
	["a backslash",             "GET",  "/api/agents/a\\b",          200, 400],
	["not ASCII",               "GET",  "/api/agents/ä",             200, 400],
	["a method to be folded",   "get",  "/api/agents/me",            200, 403],
	["an empty segment",        "GET",  "/api/agents//skills",       403, 400],
	["no slash in front",       "GET",  "api/agents/me",             403, 400],
];

// The patterns that a route's regular expression stands for; fails for one
// that is not of the few forms the lists have.
function expand({ method, path }) {
	let forms = [path.source];
	const rewrite = (part, texts) => {
		forms = forms.flatMap((form) => form.includes(part) ?
			texts.map((text) => form.replaceAll(part, text)) : [form]);
	};
	rewrite("(?:\\/[^/]+)?", ["", "\\/[^/]+"]);
	for (const [part, words] of path.source.matchAll(/\(\?:([a-z|]+)\)/g))
		rewrite(part, words.split("|"));
	return forms.map((form) => {
		const pattern = form.replace(/^\^/, "").replace(/\$$/, "").
			replaceAll("\\/", "/").replaceAll("[^/]+", ":any").
			replaceAll("\\.", ".");
		assert.match(pattern, /^(\/(:any)?[a-z0-9.-]*)+$/, path.source);
		return `${method} ${pattern}`;
	});
}

async function ourRules(rules) {
	const { code, stdout } = await run("pc-allow",
		["-r", rules, "--print-rules"]);
	assert.equal(code, 0);
	return stdout.toString().trim().split("\n").
		map((line) => line.replaceAll(/:[a-z]+/g, ":any"));
}

// What pc-allow makes of requests: 200 or the status of its answer, each with
// the headers that pass.
async function judge(rules, requests) {
	const lines = requests.map(({ method, path, headers = {} }, n) =>
		JSON.stringify({ id: `r${n}`, method, path, query: "", headers,
			body: "", createdAt: "t" }) + "\n");
	const { code, stdout } = await run("pc-allow", ["-r", rules],
		{ input: lines.join("") });
	assert.equal(code, 0);
	const verdicts = stdout.toString().trim().split("\n").
		map((line) => JSON.parse(line));
	assert.equal(verdicts.length, requests.length);
	return verdicts.map((verdict, n) => {
		assert.equal(verdict.id, `r${n}`);
		return { status: verdict.status ?? 200,
			headers: Object.keys(verdict.headers) };
	});
}

async function compare(rules, version) {
	const peer = await load(version, "sandbox-callback-bridge");
	const verdict = (request) =>
		peer.authorizeSandboxCallbackBridgeRequestWithRoutes(request) === null ?
			200 : 403;
	const theirs = peer.DEFAULT_SANDBOX_CALLBACK_BRIDGE_ROUTE_ALLOWLIST.
		flatMap(expand);
	const ours = await ourRules(rules);
	const name = (set) => [...new Set(set)].sort();
	assert.deepEqual(name(ours), name(theirs));
	assert.equal(ours.length, new Set(ours).size, "a rule is there twice");

	// Every route, with every method, and what is nearly one.
	const requests = [];
	for (const route of theirs)
		for (const method of METHODS) {
			const path = route.split(" ")[1].replaceAll(":any", "x-7");
			for (const near of [path, `${path}/x`, `${path}/`, `/x${path}`,
				path.replace(/.[^/]*$/, ""), path.toUpperCase(),
				path.replaceAll("x-7", "me"), `${path}.txt`,
				path.replace("x-7.txt", ".txt"), path.replace(".", "x")])
				if (near !== "" && !near.includes("//"))
					requests.push({ method, path: near });
		}
	const verdicts = await judge(rules, requests);
	for (const [n, { status }] of verdicts.entries())
		assert.equal(status, verdict(requests[n]),
			`${requests[n].method} ${requests[n].path}`);

	const odd = departures.map(([, method, path]) => ({ method, path }));
	const oddVerdicts = await judge(rules, odd);
	for (const [n, [what, , , peers, our]] of departures.entries()) {
		assert.equal(verdict(odd[n]), peers, `peer: ${what}`);
		assert.equal(oddVerdicts[n].status, our, `ours: ${what}`);
	}
	await compareHeaders(peer, rules, ours);
	console.log(`${rules}: ${ours.length} routes by ` +
		`${requests.length} requests`);
}

// Ours are the peer's, and idempotency-key; but the capability header is
// carried to runtime tools only.
async function compareHeaders(peer, rules, ours) {
	const theirs = peer.DEFAULT_SANDBOX_CALLBACK_BRIDGE_HEADER_ALLOWLIST;
	const sent = Object.fromEntries([...theirs, CAPABILITY,
		"idempotency-key", "authorization", "cookie", "host",
		"x-paperclip-run-id"].map((name) => [name, "v"]));
	const requests = ours.map((rule) => {
		const [method, pattern] = rule.split(" ");
		return { method, headers: sent,
			path: pattern.replaceAll(":any", "x-7") };
	});
	const verdicts = await judge(rules, requests);
	for (const [n, { status, headers }] of verdicts.entries()) {
		const want = Object.keys(
			peer.sanitizeSandboxCallbackBridgeHeaders(sent)).
			filter((name) => name !== CAPABILITY ||
				requests[n].path.startsWith("/runtime-tools/"));
		assert.equal(status, 200);
		assert.deepEqual(headers.sort(),
			[...want, "idempotency-key"].sort(), requests[n].path);
	}
}

await compare("@default", "2026.707");
await compare("@2026.916", "2026.916");
