#include <stddef.h>
#include <string.h>

#include "leasing.h"
#include "runconfig.h"

#define EXPIRY_MS	60000
#define CLEANUP_MS	300000
#define RETAIN_MS	(24 * 3600000)

#define MEMBER(name, kind, member) .key = (name), .type = (kind), \
	.at = offsetof(struct environment_config, member)

static const struct field config_fields[] = {
	{ MEMBER("channel", FIELD_JSON, channel) },
	{ MEMBER("cleanup", FIELD_WORDS, cleanup) },
	{ MEMBER("cleanupTimeout", FIELD_DURATION, cleanup_ms) },
	{ MEMBER("expiry", FIELD_DURATION, expiry_ms) },
	{ MEMBER("policy", FIELD_TEXT, policy) },
	{ MEMBER("provider", FIELD_TEXT, provider) },
	{ MEMBER("remoteCwd", FIELD_TEXT, remote_cwd) },
	{ MEMBER("retain", FIELD_DURATION, retain_ms) },
	{ .key = NULL }
};

/* What pc-run will make of it, so that it is refused now and not then. */
static int
check_channel(struct span channel, struct problem *p)
{
	struct fault f = { .kind = FAULT_NONE };
	struct runconfig run;
	struct buf text = { 0 };
	int result = 0;

	if (*channel.p != '{')
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "config: channel: not an object");
	buf_add_str(&text, "{\"channel\":");
	buf_add_span(&text, channel);
	buf_add_char(&text, '}');
	if (buf_failed(&text))
		return problem_memory(p);
	if (runconfig_read(&run, buf_span(&text), &f) == -1)
		result = problem_fault(p, "invalid_input", &f);
	runconfig_free(&run);
	buf_free(&text);
	return result;
}

static int
check_config(const struct environment_config *c, struct problem *p)
{
	if (lease_policy_of(c->policy) == LEASE_POLICY_NONE)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "config: policy: not one of ephemeral, "
		    "reuse_by_environment, reuse_by_execution_workspace, "
		    "retain_on_failure");
	if (c->expiry_ms < LEASE_EXPIRY_MIN_MS)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "config: expiry: under a second");
	/* Who runs it may die: then somebody else does, after that. */
	if (c->cleanup_ms == 0)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "config: cleanupTimeout: cannot be for ever");
	if (leasing_check_text("config: provider", c->provider,
	    LEASING_TEXT_MAX, p) == -1)
		return -1;
	return c->channel.n == 0 ? 0 : check_channel(c->channel, p);
}

int
environment_config_read(struct environment_config *c, const char *text,
    struct problem *p)
{
	static char none[] = "", ephemeral[] = "ephemeral";
	struct fault f = { .kind = FAULT_NONE };

	*c = (struct environment_config){ .remote_cwd = none,
	    .policy = ephemeral, .provider = none, .cleanup_ms = CLEANUP_MS,
	    .retain_ms = RETAIN_MS, .expiry_ms = EXPIRY_MS };
	if (fields_read(span_of(text), config_fields, c, &c->memory, &f) ==
	    -1)
		return problem_fault(p, "invalid_input", &f);
	return check_config(c, p);
}

void
environment_config_free(struct environment_config *c)
{
	fields_free(&c->memory);
}

bool
environment_config_has_cleanup(const struct environment_config *c)
{
	return c->cleanup.line != NULL || c->cleanup.argv.n > 0;
}

/* Each with its length, so that none can look like two others. */
static void
add_part(struct sha256 *s, struct span part)
{
	struct store_digits n = store_digits((int64_t)part.n);

	sha256_add(s, n.text, strlen(n.text) + 1);
	sha256_add(s, part.p, part.n);
}

void
environment_fingerprint(const char *driver,
    const struct environment_config *c, char out[static SHA256_HEX_SIZE])
{
	uint8_t sum[SHA256_SIZE];
	struct sha256 s;

	sha256_init(&s);
	add_part(&s, span_of(driver));
	add_part(&s, c->channel);
	add_part(&s, span_of(c->remote_cwd));
	add_part(&s, span_of(c->provider));
	sha256_end(&s, sum);
	sha256_hex(sum, out);
}
