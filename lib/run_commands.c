/* What is run there before the agent: install and provision. */
#include <stdio.h>
#include <string.h>

#include "running.h"

#define INSTALL_LINES	3
#define INSTALL_BYTES	480

static struct command
make_command(struct run *r, const struct runconfig_command *c)
{
	return (struct command){ .argv = c->command, .cwd = r->remote,
	    .unless = c->detect, .timeout_ms = c->timeout_ms,
	    .grace_ms = COMMAND_GRACE_MS, .lines = true,
	    /* What it starts, a database say, is there for the agent. */
	    .background = true, .lifeline = r->c->channel.stream };
}

static bool
is_given(const struct runconfig_command *c)
{
	return c->command.line != NULL || c->command.argv.n > 0;
}

int
run_install(struct run *r)
{
	struct command c = make_command(r, &r->c->install);
	struct tail out = { .len = 0 }, err = { .len = 0 };
	struct said said;
	char *lines;
	int result;

	if (!is_given(&r->c->install))
		return 0;
	if (r->c->workspace.local == NULL)
		c.cwd = NULL;
	result = run_remote(r, "install", &c, &said, &out, &err);
	if (result == 0) {
		run_event(r, "install", "ended", "\"status\":%d,"
		    "\"skipped\":%s", (int)said.status,
		    said.skipped ? "true" : "false");
		if (said.status != 0) {
			tail_add(&out, (struct span){ err.text, err.len });
			lines = run_last_lines(r, (struct span){ out.text,
			    out.len }, INSTALL_LINES, INSTALL_BYTES);
			if (said.error != NULL && *said.error != '\0')
				lines = said.error;
			r->o->warn("install", run_text(r, "%s %d%s%s",
			    said.timed_out ? "timed out, exit code" :
			    "exit code", (int)said.status,
			    lines != NULL && *lines != '\0' ? ": " : "",
			    lines != NULL ? lines : ""));
		}
	}
	said_free(&said);
	return result;
}

/* The first line that has something in it. */
static struct span
first_line(const struct tail *t)
{
	struct span line = { t->text, 0 };
	const char *end = t->text + t->len;

	while (line.p < end && (*line.p == '\n' || *line.p == '\r' ||
	    *line.p == ' ' || *line.p == '\t'))
		line.p++;
	while (line.p + line.n < end && line.p[line.n] != '\n' &&
	    line.p[line.n] != '\r')
		line.n++;
	return line;
}

int
run_provision(struct run *r)
{
	struct command c = make_command(r, &r->c->provision);
	struct tail out = { .len = 0 }, err = { .len = 0 };
	char signal[32] = "";
	struct span line;
	struct said said;
	int result;

	if (!is_given(&r->c->provision))
		return 0;
	if (r->c->workspace.local == NULL)
		c.cwd = NULL;
	result = run_remote(r, "provision", &c, &said, &out, &err);
	if (result == 0) {
		run_event(r, "provision", "ended", "\"status\":%d",
		    (int)said.status);
		line = first_line(&err);
		if (line.n == 0)
			line = first_line(&out);
		if (said.error != NULL && *said.error != '\0')
			line = span_of(said.error);
		if (said.signal != 0)
			snprintf(signal, sizeof(signal), " (signal %d)",
			    (int)said.signal);
		if (said.timed_out)
			result = run_fail(r, RUN_STATUS_LATER,
			    "provision command timed out");
		else if (said.status != 0)
			result = run_fail(r, RUN_STATUS_NEVER,
			    "provision: exit code %d%s%s%.*s",
			    (int)said.status, signal, line.n > 0 ? ": " : "",
			    (int)line.n, line.p);
	}
	said_free(&said);
	return result;
}
