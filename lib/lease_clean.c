#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "lease_clean.h"
#include "program.h"
#include "tasks.h"

#define VARIABLES 8

static int
fill_env(struct texts *env, char *values[static VARIABLES + 1],
    const struct environment *e, const struct lease *l)
{
	const struct store_digits token = store_digits(l->token);
	const struct {
		const char *name, *value;
	} pairs[VARIABLES] = {
		{ "ID", l->id }, { "EPOCH", token.text },
		{ "ENVIRONMENT", e->name }, { "PROVIDER", l->provider },
		{ "PROVIDER_ID", l->provider_lease },
		{ "WORKSPACE", l->workspace }, { "RUN", l->run },
		{ "STATUS", l->outcome }
	};
	size_t i;

	*env = (struct texts){ values, 0 };
	for (i = 0; i < VARIABLES; i++, env->n++)
		if (asprintf(&values[i], "PC_LEASE_%s=%s", pairs[i].name,
		    pairs[i].value) == -1)
			return -1;
	values[i] = NULL;
	return 0;
}

/* The first line of what it said at last that is not empty. */
static void
put_said(struct buf *out, const struct task *t)
{
	const char *from = t->tail, *end = t->tail + t->tail_len;
	size_t n;

	while (from < end && (*from == '\n' || *from == ' '))
		from++;
	for (n = 0; from + n < end && from[n] != '\n'; n++)
		continue;
	if (n > 0) {
		buf_add_str(out, ": ");
		buf_add(out, from, n);
	}
}

static int
judge(const struct task *t, bool late, struct problem *p)
{
	struct buf said = { 0 };

	if (t->status == 0 && !late)
		return 0;
	put_said(&said, t);
	buf_add_char(&said, '\0');
	if (late)
		(void)problem_set(p, PROBLEM_LATER, "lease_cleanup_failed",
		    "clean-up command timed out");
	else
		(void)problem_set(p, PROBLEM_LATER, "lease_cleanup_failed",
		    "clean-up command: exit code %d%s", t->status,
		    buf_failed(&said) ? "" : said.data);
	buf_free(&said);
	return -1;
}

static int
run(struct tasks *all, const struct program *program,
    const struct environment_config *config, const struct lease *l,
    struct problem *p)
{
	const struct task_start start = { program->argv, program->env, -1,
	    -1 };
	int64_t deadline = clock_mono_ms() + config->cleanup_ms;
	struct task t;
	bool late = false;
	int result = -1;

	task_init(&t, "clean-up", NULL, NULL);
	buf_add_str(&t.to, l->metadata);
	t.finish = true;
	if (task_start(all, &t, &start) == 0) {
		while (!t.ended && !late && all->stops == 0 &&
		    tasks_wait(all, deadline) == 0)
			late = deadline != -1 && clock_mono_ms() >= deadline;
		if (t.ended || late)
			result = judge(&t, !t.ended, p);
		else if (all->stops > 0)
			errno = EINTR;
	}
	if (result == -1)
		(void)problem_set(p, PROBLEM_LATER, "lease_cleanup_failed",
		    "clean-up command: %s", strerror(errno));
	task_drop(all, &t);
	return result;
}

static int
find_and_run(const struct command *c, const struct environment_config *config,
    const struct lease *l, struct problem *p)
{
	struct program program;
	struct tasks all;
	sigset_t before;
	int result = -1;

	(void)sigprocmask(SIG_SETMASK, NULL, &before);
	if (program_find(&program, c, NULL) != PROGRAM_FOUND) {
		(void)problem_set(p, PROBLEM_LATER, "lease_cleanup_failed",
		    "clean-up command cannot be found");
	} else if (tasks_open(&all) == -1) {
		(void)problem_set(p, PROBLEM_LATER, "lease_cleanup_failed",
		    "clean-up command: %s", strerror(errno));
	} else {
		result = run(&all, &program, config, l, p);
		tasks_close(&all);
	}
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	program_free(&program);
	return result;
}

int
lease_clean(void *arg, const struct environment *e,
    const struct environment_config *config, const struct lease *l,
    struct problem *p)
{
	char *values[VARIABLES + 1] = { NULL };
	struct command c = { .argv = config->cleanup };
	int result;
	size_t i;

	(void)arg;
	result = fill_env(&c.env, values, e, l) == 0 ?
	    find_and_run(&c, config, l, p) : problem_memory(p);
	for (i = 0; i < VARIABLES; i++)
		free(values[i]);
	return result;
}
