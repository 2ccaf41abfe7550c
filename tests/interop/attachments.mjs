// An API that keeps what is attached, byte for byte.
//
//	node attachments.mjs
//
// POST /api/companies/C/issues/I/attachments keeps a body and tells its id;
// GET /api/attachments/ID/content gives it back, with its content type.
// POST /runtime-tools/github/credentials tells the capability that came.
// With the query "lose" the connection is lost instead.
// Prints its port in a line, and ends on TERM.
import { createServer } from "node:http";

const kept = [];

async function answer(request) {
	const parts = [];
	for await (const part of request)
		parts.push(part);
	const [, id] = /^\/api\/attachments\/(\d+)\/content$/.
		exec(request.url) ?? [];
	if (id !== undefined && Number(id) in kept)
		return kept[Number(id)];
	const json = (value) => ({ type: "application/json",
		body: JSON.stringify(value) });
	if (request.url.endsWith("/attachments")) {
		kept.push({ type: request.headers["content-type"],
			body: Buffer.concat(parts) });
		return json({ id: kept.length - 1 });
	}
	return json({ capability:
		request.headers["x-paperclip-github-capability"] ?? null });
}

const server = createServer(async (request, response) => {
	if (request.url.endsWith("?lose")) {
		request.socket.destroy();
		return;
	}
	const { type, body } = await answer(request);
	response.setHeader("content-type", type);
	response.end(body);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
