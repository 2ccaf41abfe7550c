/*
 * The configuration of a run, and the identity that is kept of one.  What is
 * taken does not need its text any more and is the same when read again; what
 * passes the check is within its limits; an identity is one line, of itself.
 */
#include "fuzz.h"
#include "runconfig.h"

static void
check_folder(const char *path)
{
	check(path[0] == '/' && strstr(path, "/../") == NULL);
}

static void
check_checked(const struct runconfig *c)
{
	const struct runconfig_asset *a = c->assets.v;
	size_t i;

	check(c->channel.argv.n > 0);
	check_folder(c->workspace.remote);
	check(strchr(c->adapter, '/') == NULL && *c->adapter != '.');
	check(c->limits.in_flight > 0 && c->limits.in_flight <= 1024);
	check(c->limits.depth > 0 && c->limits.body <= 256 << 20);
	check(c->tools.remote == NULL || *c->tools.remote == '/');
	check(c->exec_ms >= 0 && c->call_ms >= 0);
	for (i = 0; i < c->assets.n; i++) {
		check(a[i].local != NULL && *a[i].key != '\0');
		check(strpbrk(a[i].key, "/\\") == NULL);
		check(strcmp(a[i].key, ".") != 0 &&
		    strcmp(a[i].key, "..") != 0);
	}
}

static void
check_map(const struct texts *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		check(*t->v[i] != '=' && strchr(t->v[i], '=') != NULL);
}

static void
check_identity(const struct runconfig *c, const struct runconfig *again)
{
	struct fault f = { .kind = FAULT_NONE };
	struct buf one = { 0 }, two = { 0 };
	const char *key;

	runconfig_put_identity(&one, c);
	runconfig_put_identity(&two, again);
	check(span_equal(buf_span(&one), buf_span(&two)));
	check(fuzz_is_line(buf_span(&one)));
	check(runconfig_compare(c, buf_span(&one), &key, &f) == 0);
	check(key == NULL);
	buf_free(&one);
	buf_free(&two);
}

/* Somebody's saved identity against the usual configuration. */
static void
compare(struct span text)
{
	static const char usual[] = "{\"channel\":{\"argv\":[\"sh\"]}}";
	struct fault f = { .kind = FAULT_NONE }, none = { .kind = FAULT_NONE };
	struct runconfig c;
	const char *key;

	check(runconfig_read(&c, span_of(usual), &none) == 0);
	check(runconfig_settle(&c, &none) == 0);
	if (runconfig_compare(&c, text, &key, &f) == -1)
		check(f.kind == FAULT_INPUT && f.reason != NULL);
	fault_clear(&f);
	runconfig_free(&c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fault f = { .kind = FAULT_NONE }, g = { .kind = FAULT_NONE };
	struct span text = fuzz_block(data, len), copy;
	struct runconfig c, again;
	int got = runconfig_read(&c, text, &f);

	compare(text);
	free((char *)text.p);
	copy = fuzz_block(data, len);
	check(runconfig_read(&again, copy, &g) == got);
	check(f.kind == g.kind && f.reason == g.reason);
	if (got == -1)
		check(f.kind == FAULT_INPUT && f.reason != NULL);
	else {
		check_map(&c.channel.env);
		check_map(&c.agent.env);
		got = runconfig_settle(&c, &f);
		check(runconfig_settle(&again, &g) == got);
		if (got == 0) {
			check_checked(&c);
			check_identity(&c, &again);
		} else {
			check(f.kind == FAULT_INPUT && f.reason != NULL);
		}
	}
	fault_clear(&f);
	fault_clear(&g);
	runconfig_free(&c);
	runconfig_free(&again);
	free((char *)copy.p);
	return 0;
}
