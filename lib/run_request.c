/* What the agent is started with: its words, its environment, its limits. */
#include "running.h"

#define IDLE_MS		180000		/* detached: nobody has asked */

/* The gateway, which runs the agent; without an API, the agent. */
static void
agent_words(struct run *r, struct wordlist *w)
{
	char *const *word;

	if (r->bridge != NULL) {
		words_add(r, w, r->tools);
		words_add(r, w, "pc-serve");
		words_add(r, w, "-q");
		words_add(r, w, r->queue);
		words_add(r, w, "--claims");
		words_add(r, w, "-m");
		words_add(r, w, run_text(r, "%llu",
		    (unsigned long long)r->c->limits.body));
		words_add(r, w, "--max-depth");
		words_add(r, w, run_text(r, "%lld",
		    (long long)r->c->limits.depth));
		if (r->queue_is_scratch)
			words_add(r, w, "--existing");
		words_add(r, w, "--");
	}
	for (word = r->o->command; *word != NULL; word++)
		words_add(r, w, *word);
}

/* PC_ASSET_ and the key, in the letters that a name may have. */
static char *
asset_pair(struct run *r, const struct runconfig_asset *a)
{
	static const char prefix[] = "PC_ASSET_";
	char *pair = run_text(r, "%s%s=%s/%s", prefix, a->key, r->root,
	    a->key), *p, *end;

	if (pair == NULL)
		return NULL;
	p = pair + strlen(prefix);
	for (end = p + strlen(a->key); p < end; p++) {
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
		else if ((*p < 'A' || *p > 'Z') && (*p < '0' || *p > '9'))
			*p = '_';
	}
	return pair;
}

static void
env_words(struct run *r, struct wordlist *env)
{
	const struct runconfig_asset *assets = r->c->assets.v;
	size_t i;

	words_add(r, env, run_text(r, "PC_WORKSPACE=%s", r->remote));
	words_add(r, env, run_text(r, "PC_RUNTIME_ROOT=%s", r->root));
	for (i = 0; i < r->c->assets.n; i++)
		words_add(r, env, asset_pair(r, &assets[i]));
	words_add_all(r, env, &r->c->agent.env);
}

int
run_put_agent(struct run *r, struct buf *out)
{
	static char id[] = RUN_AGENT_ID;
	struct wordlist argv = { .v = NULL }, env = { .v = NULL };
	struct fault f = { .kind = FAULT_NONE };
	struct command c;

	agent_words(r, &argv);
	env_words(r, &env);
	if (argv.failed || env.failed)
		return -1;
	c = (struct command){ .argv.argv = { argv.v, argv.n },
	    .env = { env.v, env.n }, .id = id, .lines = true,
	    .cwd = r->c->agent.cwd != NULL ? r->c->agent.cwd :
	    r->c->workspace.local != NULL ? r->remote : NULL,
	    .input = r->c->agent.input, .lifeline = r->c->channel.stream,
	    .timeout_ms = r->c->agent.timeout_ms,
	    .grace_ms = COMMAND_GRACE_MS,
	    .idle_ms = r->c->channel.stream ? 0 : IDLE_MS };
	return command_put(out, &c, &f) == 0 ? 0 :
	    run_fail_fault(r, "agent", &f);
}
