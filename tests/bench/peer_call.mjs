// A worker's call of the API, for the published peer: a request of its queue,
// with the host's token, and the answer as the peer wants it.
export const callApi = (apiUrl) => async (request) => {
	const bodiless = ["GET", "HEAD"].includes(request.method);
	const answer = await fetch(apiUrl + request.path + request.query, {
		method: request.method,
		headers: {
			...request.headers,
			authorization: `Bearer ${process.env.PC_API_TOKEN}`,
		},
		body: bodiless ? undefined : request.body,
	});
	return {
		status: answer.status,
		headers: { "content-type": answer.headers.get("content-type") ?? "" },
		body: await answer.text(),
	};
};
