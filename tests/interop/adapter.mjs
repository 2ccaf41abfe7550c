// An adapter: how a Node program that has a runner of its own composes the
// tools into one agent run.  runner.execute({command, args, cwd, env, stdin,
// timeoutMs}) is all that it needs of a sandbox: text in, text out at the end,
// no shell but for putting the tools there.  Where a command prefix is the
// channel, pc-run(1) does this, and goes on after failures that end it here.
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

// A program of the host's, its output in the end.
async function local(program, args, input = "") {
	const running = promisify(execFile)(program, args, { maxBuffer: 1e9 });
	running.child.stdin.on("error", () => {});
	running.child.stdin.end(input);
	return (await running).stdout;
}

// A program of the sandbox's.  What it may exit with is part of its contract.
async function execute(runner, command, args, { stdin, ok = [0] } = {}) {
	const result = await runner.execute({ command, args, stdin, cwd: "/",
		env: { PAPERCLIP_SANDBOX_EXEC_CHANNEL: "bridge" },
		timeoutMs: 120000 });
	if (result.timedOut || !ok.includes(result.exitCode))
		throw new Error(`${args[0]}: exit ${result.exitCode}: ` +
			result.stderr.trim());
	return result.stdout;
}

// The tools are one static file: put there unless it is there already.
async function bootstrap(runner, file, toolsFile) {
	const bytes = await readFile(toolsFile);
	const sum = createHash("sha256").update(bytes).digest("hex");
	const isThere = () => execute(runner, file, ["pc-file", "sha256", file]).
		then((text) => text.includes(sum), () => false);
	if (await isThere())
		return false;
	await execute(runner, "sh", ["-c", 'mkdir -p "${1%/*}" && ' +
		'base64 -d >"$1.$$" && chmod 755 "$1.$$" && mv "$1.$$" "$1"',
		"sh", file], { stdin: bytes.toString("base64") });
	if (!await isThere())
		throw new Error(`${file}: is not what was put there`);
	return true;
}

// The host's half of the bridge: request lines in, response lines out, which
// go back together, one exec at a time.
function startPipeline(api, respond) {
	const stdio = ["pipe", "pipe", "inherit"];
	const allow = spawn("pc-allow", ["-r", api.rules], { stdio });
	const forward = spawn("pc-forward", ["-u", api.url], { stdio,
		env: { ...process.env, PC_API_TOKEN: api.token } });
	allow.stdout.pipe(forward.stdin);
	let answers = "", sending = null;
	const send = async () => {
		for (let lines; (lines = answers) !== "";) {
			answers = "";
			await respond(lines);
		}
		sending = null;
	};
	const answered = new Promise((resolve) => {
		createInterface({ input: forward.stdout }).on("line", (line) => {
			answers += `${line}\n`;
			sending ??= send();
			sending.catch(() => {});	// end() tells
		}).on("close", resolve);
	});
	return {
		write: (line) => allow.stdin.write(`${line}\n`),
		end: async () => {
			allow.stdin.end();
			await answered;
			await sending;
		},
	};
}

// One agent run.  toolsFile: bin/static/pc-tools.  workspace: the host's
// folder.  baseline: a file for its manifest.  remote: the sandbox's folder of
// this run.  api: {url, token, rules}.  agent: {argv, env}, started in the
// workspace; onOutput("stdout" | "stderr", text) gets what it prints.
// Returns its last line, {exit, signal, ...}, and the merge's report.
export async function runAgent(runner, { toolsFile, workspace, baseline,
	remote, api, agent, onOutput = () => {} }) {
	const at = (name) => path.posix.join(remote, name);
	const file = at("bin/pc-tools");
	const sandbox = (tool, args, options) =>
		execute(runner, file, [tool, ...args], options);
	const queue = ["-q", at("queue")];
	const uploaded = await bootstrap(runner, file, toolsFile);

	// In.  The manifest is what the merge will compare with.
	const archive = await local("pc-tarsync", ["pack", "--base64",
		"-C", workspace, "--manifest", baseline]);
	await sandbox("pc-tarsync", ["unpack", "--clean", "-C", at("work")],
		{ stdin: archive });

	// The gateway, and the agent; what is secret goes by stdin.
	const ready = JSON.parse(await sandbox("pc-serve", [...queue, "--daemon",
		"--claims", "--new-token", "--token-file", at("token")]));
	const pipeline = startPipeline(api, (lines) =>
		sandbox("pc-respond", queue, { stdin: lines }));
	const token = await sandbox("pc-file", ["get", at("token")]);
	let last = null;
	try {
		await sandbox("pc-exec", ["-C", at("exec"), "--detach"], {
			stdin: JSON.stringify({ id: "agent", cwd: at("work"),
				argv: agent.argv, idleMs: 60000, env: { ...agent.env,
					PAPERCLIP_API_URL: ready.baseUrl,
					PAPERCLIP_API_KEY: token.trim(),
					PAPERCLIP_API_BRIDGE_MODE: "queue_v1",
					PAPERCLIP_BRIDGE_QUEUE_DIR: at("queue") } }) });
		// One exec waits for the agent and for its requests.
		for (let next = 0, running = true; running;) {
			const lines = await sandbox("pc-exec", ["-C", at("exec"),
				"--output", "agent", "--offset", String(next), "-w", "25s",
				file, "pc-drain", ...queue]);
			for (const line of lines.split("\n").filter(Boolean)) {
				const record = JSON.parse(line);
				if ("method" in record || "status" in record)
					pipeline.write(line);
				else if ("next" in record)
					({ next, running } = record);
				else if ("exit" in record)
					last = record;
				else if ("stdout" in record || "stderr" in record)
					onOutput(...Object.entries(record)[0]);
			}
		}
	} finally {
		// Whatever failed: nobody is left waiting, and nothing running.
		await sandbox("pc-exec", ["-C", at("exec"), "--kill", "agent"],
			{ ok: [0, 1] }).catch(() => {});
		await pipeline.end().finally(() =>
			sandbox("pc-serve", [...queue, "--stop"]));
	}

	// Out, into a workspace that others may have changed meanwhile; the
	// manifest is what unpack stored.
	const delta = await sandbox("pc-tarsync", ["pack", "--base64",
		"-C", at("work"), "--since", at("work/.paperclip-runtime/manifest")]);
	const report = await local("pc-tarsync", ["merge", "-C", workspace,
		"--baseline", baseline], delta);
	return { ...last, uploaded,
		report: report.trim().split("\n").map((line) => JSON.parse(line)) };
}
