/*
 * The configuration of an environment.  What is taken has a known policy and
 * a channel that pc-run takes as well; it is told from another by what it
 * says, and the same text says the same.
 */
#include "environment.h"
#include "fuzz.h"
#include "lease_state.h"
#include "leasing.h"
#include "runconfig.h"

static void
check_channel(struct span channel)
{
	struct fault f = { .kind = FAULT_NONE };
	struct buf text = { 0 };
	struct runconfig c;

	buf_add_str(&text, "{\"channel\":");
	buf_add_span(&text, channel);
	buf_add_str(&text, "}");
	check(runconfig_read(&c, buf_span(&text), &f) == 0);
	runconfig_free(&c);
	buf_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = strndup((const char *)data, len), *again = NULL;
	char one[SHA256_HEX_SIZE], two[SHA256_HEX_SIZE];
	struct problem p = { .kind = PROBLEM_NONE }, q = p;
	struct environment_config c, d;
	int got;

	check(text != NULL && (again = strdup(text)) != NULL);
	got = environment_config_read(&c, text, &p);
	check(environment_config_read(&d, again, &q) == got);
	if (got == 0) {
		check(lease_policy_of(c.policy) != LEASE_POLICY_NONE);
		check(c.expiry_ms >= 1000 && c.cleanup_ms >= 0 &&
		    c.retain_ms >= 0);
		if (c.channel.n > 0)
			check_channel(c.channel);
		environment_fingerprint("d", &c, one);
		environment_fingerprint("d", &d, two);
		check(strcmp(one, two) == 0);
	} else {
		check(p.kind == PROBLEM_INPUT && p.code != NULL);
		check(strcmp(problem_text(&p), problem_text(&q)) == 0);
	}
	problem_clear(&p);
	problem_clear(&q);
	environment_config_free(&c);
	environment_config_free(&d);
	free(text);
	free(again);
	return 0;
}
