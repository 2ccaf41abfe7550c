#include <errno.h>
#include <stddef.h>

#include "record.h"
#include "runconfig.h"

#define REMOTE		"/tmp/pc-workspace"
#define ADAPTER		"pc-run"
#define EXEC_MS		300000
#define CALL_MS		30000
#define IN_FLIGHT	16
#define DEPTH		64
#define OUTPUT_MIN	(256 * 1024)	/* one line of output must fit */

#define MEMBER(name, kind, in, member) \
	.key = (name), .type = (kind), .at = offsetof(struct in, member)

static const struct field channel_fields[] = {
	{ MEMBER("argv", FIELD_TEXTS, runconfig_channel, argv) },
	{ MEMBER("env", FIELD_MAP, runconfig_channel, env) },
	{ MEMBER("outputMax", FIELD_SIZE, runconfig_channel, output_max) },
	{ MEMBER("provider", FIELD_TEXT, runconfig_channel, provider) },
	{ MEMBER("sandboxId", FIELD_TEXT, runconfig_channel, sandbox_id) },
	{ MEMBER("stream", FIELD_FLAG, runconfig_channel, stream) },
	{ MEMBER("text", FIELD_FLAG, runconfig_channel, text) },
	{ MEMBER("transport", FIELD_TEXT, runconfig_channel, transport) },
	{ .key = NULL }
};

static const struct field workspace_fields[] = {
	{ MEMBER("conflict", FIELD_TEXT, runconfig_workspace, conflict) },
	{ MEMBER("exclude", FIELD_TEXTS, runconfig_workspace, exclude) },
	{ MEMBER("local", FIELD_TEXT, runconfig_workspace, local) },
	{ MEMBER("preserve", FIELD_TEXTS, runconfig_workspace, preserve) },
	{ MEMBER("remote", FIELD_TEXT, runconfig_workspace, remote) },
	{ .key = NULL }
};

static const struct field asset_fields[] = {
	{ MEMBER("exclude", FIELD_TEXTS, runconfig_asset, exclude) },
	{ MEMBER("followLinks", FIELD_FLAG, runconfig_asset, follow_links) },
	{ MEMBER("key", FIELD_TEXT, runconfig_asset, key) },
	{ MEMBER("local", FIELD_TEXT, runconfig_asset, local) },
	{ .key = NULL }
};

static const struct field api_fields[] = {
	{ MEMBER("caFile", FIELD_TEXT, runconfig_api, ca_file) },
	{ MEMBER("rules", FIELD_TEXT, runconfig_api, rules) },
	{ MEMBER("runId", FIELD_TEXT, runconfig_api, run_id) },
	{ MEMBER("tokenFile", FIELD_TEXT, runconfig_api, token_file) },
	{ MEMBER("url", FIELD_TEXT, runconfig_api, url) },
	{ .key = NULL }
};

static const struct field tools_fields[] = {
	{ MEMBER("copy", FIELD_TEXTS, runconfig_tools, copy) },
	{ MEMBER("local", FIELD_TEXT, runconfig_tools, local) },
	{ MEMBER("remote", FIELD_TEXT, runconfig_tools, remote) },
	{ .key = NULL }
};

static const struct field install_fields[] = {
	{ MEMBER("command", FIELD_WORDS, runconfig_command, command) },
	{ MEMBER("detect", FIELD_TEXT, runconfig_command, detect) },
	{ MEMBER("timeout", FIELD_DURATION, runconfig_command, timeout_ms) },
	{ .key = NULL }
};

static const struct field provision_fields[] = {
	{ MEMBER("command", FIELD_WORDS, runconfig_command, command) },
	{ MEMBER("timeout", FIELD_DURATION, runconfig_command, timeout_ms) },
	{ .key = NULL }
};

static const struct field agent_fields[] = {
	{ MEMBER("cwd", FIELD_TEXT, runconfig_agent, cwd) },
	{ MEMBER("env", FIELD_MAP, runconfig_agent, env) },
	{ MEMBER("stdin", FIELD_BYTES, runconfig_agent, input) },
	{ MEMBER("timeout", FIELD_DURATION, runconfig_agent, timeout_ms) },
	{ .key = NULL }
};

static const struct field lease_fields[] = {
	{ MEMBER("company", FIELD_TEXT, runconfig_lease, company) },
	{ MEMBER("environment", FIELD_TEXT, runconfig_lease, environment) },
	{ MEMBER("for", FIELD_MAP, runconfig_lease, levels) },
	{ MEMBER("issue", FIELD_TEXT, runconfig_lease, issue) },
	{ MEMBER("store", FIELD_TEXT, runconfig_lease, store) },
	{ MEMBER("wait", FIELD_DURATION, runconfig_lease, wait_ms) },
	{ MEMBER("workspace", FIELD_TEXT, runconfig_lease, workspace) },
	{ .key = NULL }
};

static const struct field limits_fields[] = {
	{ MEMBER("body", FIELD_SIZE, runconfig_limits, body) },
	{ MEMBER("depth", FIELD_NUMBER, runconfig_limits, depth),
	    .max = 1 << 30 },
	{ MEMBER("inFlight", FIELD_NUMBER, runconfig_limits, in_flight),
	    .max = 1024 },
	{ .key = NULL }
};

static const struct field deadline_fields[] = {
	{ MEMBER("call", FIELD_DURATION, runconfig, call_ms) },
	{ MEMBER("exec", FIELD_DURATION, runconfig, exec_ms) },
	{ .key = NULL }
};

#define SECTION(name, member) \
	MEMBER(#name, FIELD_OBJECT, runconfig, member), \
	.fields = name ## _fields

static const struct field fields[] = {
	{ MEMBER("adapter", FIELD_TEXT, runconfig, adapter) },
	{ SECTION(agent, agent) },
	{ SECTION(api, api) },
	{ MEMBER("assets", FIELD_OBJECTS, runconfig, assets),
	    .fields = asset_fields,
	    .size = sizeof(struct runconfig_asset) },
	{ SECTION(channel, channel) },
	/* Its members are the configuration's own. */
	{ .key = "deadlines", .type = FIELD_OBJECT, .at = 0,
	    .fields = deadline_fields },
	{ SECTION(install, install) },
	{ SECTION(lease, lease) },
	{ SECTION(limits, limits) },
	{ SECTION(provision, provision) },
	{ MEMBER("state", FIELD_TEXT, runconfig, state) },
	{ SECTION(tools, tools) },
	{ SECTION(workspace, workspace) },
	{ .key = NULL }
};

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int
runconfig_read(struct runconfig *c, struct span text, struct fault *f)
{
	static char adapter[] = ADAPTER;
	static char rules[] = "@default", conflict[] = "source";

	*c = (struct runconfig){ .channel.stream = true,
	    .workspace.conflict = conflict, .lease.wait_ms = -1,
	    .api.rules = rules, .adapter = adapter,
	    .install.timeout_ms = EXEC_MS, .provision.timeout_ms = EXEC_MS,
	    .limits.body = RECORD_BODY_MAX, .limits.depth = DEPTH,
	    .limits.in_flight = IN_FLIGHT, .exec_ms = EXEC_MS,
	    .call_ms = CALL_MS };
	if (text.n > 0 && fields_read(text, fields, c, &c->memory, f) == -1)
		return -1;
	return 0;
}

void
runconfig_free(struct runconfig *c)
{
	fields_free(&c->memory);
}

bool
runconfig_is_plain(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+,-";

	return *text != '\0' && *text != '-' &&
	    text[strspn(text, plain)] == '\0';
}

static int
wrong(struct fault *f, const char *key, const char *reason)
{
	return fault_input(f, span_of(key), reason);
}

/* Names below the runtime root that the runtime uses itself. */
static bool
is_reserved(const char *key)
{
	static const char *const names[] = { "exec", "paperclip-bridge",
	    "pc-tools", "transfer" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(key, names[i]) == 0)
			return true;
	return false;
}

static int
check_asset(const struct runconfig *c, size_t at, struct fault *f)
{
	const struct runconfig_asset *all = c->assets.v, *a = &all[at];
	size_t i;

	if (a->key == NULL || a->local == NULL)
		return wrong(f, "assets", "a key and a local folder are due");
	if (*a->key == '\0' || strpbrk(a->key, "/\\") != NULL ||
	    strstr(a->key, "..") != NULL || *a->key == '.' ||
	    strlen(a->key) > 200)
		return wrong(f, a->key, "not a name for an asset");
	if (is_reserved(a->key))
		return wrong(f, a->key, "an asset's key that is the runtime's");
	for (i = 0; i < at; i++)
		if (strcmp(a->key, all[i].key) == 0)
			return wrong(f, a->key, "two assets of this key");
	return 0;
}

static int
check_folder(const char *key, const char *path, struct fault *f)
{
	if (path[0] != '/' || strstr(path, "/../") != NULL ||
	    (strlen(path) >= 3 && strcmp(path + strlen(path) - 3, "/..") == 0))
		return wrong(f, key, "not an absolute path");
	return 0;
}

int
runconfig_settle(struct runconfig *c, struct fault *f)
{
	static char remote[] = REMOTE;
	const char *conflict = c->workspace.conflict;
	size_t i;

	if (c->workspace.remote == NULL)
		c->workspace.remote = remote;
	/* A whole record fits into half of what an exec can say. */
	if (c->channel.output_max >= OUTPUT_MIN)
		c->limits.body = smaller(c->limits.body,
		    (c->channel.output_max / 2 - 69632) / 6);
	if (c->channel.argv.n == 0)
		return wrong(f, "channel.argv", "missing");
	if (c->channel.output_max != 0 && c->channel.output_max < OUTPUT_MIN)
		return wrong(f, "channel.outputMax", "less than 256K");
	if (check_folder("workspace.remote", c->workspace.remote, f) == -1)
		return -1;
	if (strcmp(conflict, "source") != 0 && strcmp(conflict, "target") !=
	    0 && strcmp(conflict, "fail") != 0)
		return wrong(f, "workspace.conflict",
		    "not source, target or fail");
	if (*c->adapter == '\0' || *c->adapter == '.' ||
	    strchr(c->adapter, '/') != NULL)
		return wrong(f, "adapter", "not a name of a folder");
	if (c->tools.remote != NULL && (!runconfig_is_plain(c->tools.remote) ||
	    c->tools.remote[0] != '/'))
		return wrong(f, "tools.remote", "not an absolute path of "
		    "letters, digits and _./:@%+,-");
	if (c->limits.in_flight == 0 || c->limits.depth == 0 ||
	    c->limits.body == 0 || c->limits.body > 256 << 20)
		return wrong(f, "limits", "out of range");
	for (i = 0; i < c->assets.n; i++)
		if (check_asset(c, i, f) == -1)
			return -1;
	return 0;
}

/* --- identity --------------------------------------------------------------- */

struct identity {
	char *transport, *provider, *sandbox_id, *remote, *url;
};

static const struct field identity_fields[] = {
	{ MEMBER("apiUrl", FIELD_TEXT, identity, url) },
	{ MEMBER("provider", FIELD_TEXT, identity, provider) },
	{ MEMBER("remoteCwd", FIELD_TEXT, identity, remote) },
	{ MEMBER("sandboxId", FIELD_TEXT, identity, sandbox_id) },
	{ MEMBER("transport", FIELD_TEXT, identity, transport) },
	{ .key = NULL }
};

/* The words of the channel: another sandbox has another name among them. */
static void
join(struct buf *out, const struct texts *t)
{
	size_t i;

	for (i = 0; i < t->n; i++) {
		if (i > 0)
			buf_add_char(out, ' ');
		buf_add_str(out, t->v[i]);
	}
	buf_add_char(out, '\0');
}

/* words keeps what i points to. */
static void
take_identity(struct identity *i, const struct runconfig *c,
    struct buf *words)
{
	static char none[] = "";
	char *program = c->channel.argv.n > 0 ? c->channel.argv.v[0] : none;
	char *slash = strrchr(program, '/');

	i->transport = c->channel.transport != NULL ? c->channel.transport :
	    slash != NULL ? slash + 1 : program;
	i->provider = c->channel.provider != NULL ? c->channel.provider : none;
	join(words, &c->channel.argv);
	i->sandbox_id = c->channel.sandbox_id != NULL ?
	    c->channel.sandbox_id : buf_failed(words) ? none : words->data;
	i->remote = c->workspace.remote;
	i->url = c->api.url != NULL ? c->api.url : none;
}

void
runconfig_put_identity(struct buf *out, const struct runconfig *c)
{
	struct buf words = { .data = NULL };
	struct identity i;

	take_identity(&i, c, &words);
	buf_add_char(out, '{');
	json_put_member(out, "transport", i.transport);
	json_put_member(out, "provider", i.provider);
	json_put_member(out, "sandboxId", i.sandbox_id);
	json_put_member(out, "remoteCwd", i.remote);
	json_put_member(out, "apiUrl", i.url);
	buf_add_str(out, "}\n");
	if (buf_failed(&words))
		out->failed = true;
	buf_free(&words);
}

static bool
differs(const char *a, const char *b)
{
	return a == NULL || strcmp(a, b) != 0;
}

int
runconfig_compare(const struct runconfig *c, struct span saved,
    const char **key, struct fault *f)
{
	struct identity was = { NULL, NULL, NULL, NULL, NULL }, is;
	struct fields_memory memory = { NULL };
	struct buf words = { .data = NULL };
	int result;

	take_identity(&is, c, &words);
	*key = NULL;
	result = fields_read(saved, identity_fields, &was, &memory, f);
	if (result == 0) {
		if (differs(was.transport, is.transport))
			*key = "transport";
		else if (differs(was.provider, is.provider))
			*key = "provider";
		else if (differs(was.sandbox_id, is.sandbox_id))
			*key = "sandboxId";
		else if (differs(was.remote, is.remote))
			*key = "remoteCwd";
		else if (differs(was.url, is.url))
			*key = "apiUrl";
	}
	fields_free(&memory);
	buf_free(&words);
	return result;
}
