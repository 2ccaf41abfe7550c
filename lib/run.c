/* The order of a run, and what is done about each failure. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bridge.h"
#include "clock.h"
#include "io.h"

/* One phase, told before and after. */
static int
phase(struct run *r, const char *name, int (*does)(struct run *))
{
	int64_t began = clock_mono_ms();
	int result;

	r->phase = name;
	(void)run_show(r, true);
	run_event(r, name, "start", "%s", "");
	result = does(r);
	run_event(r, name, "end", "\"ok\":%s,\"durationMs\":%lld",
	    result == 0 ? "true" : "false",
	    (long long)(clock_mono_ms() - began));
	return result;
}

/* A file that says that an agent was started and not yet ended. */
static char *
running_file(struct run *r)
{
	return run_text(r, "%s/running", r->o->state);
}

static int
mark_running(struct run *r)
{
	char *file = running_file(r);
	int fd;

	if (r->o->dry)
		return 0;
	if (file == NULL || (fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC,
	    0600)) == -1)
		return run_fail_errno(r, "running");
	io_close(fd);
	return 0;
}

static bool
was_running(struct run *r)
{
	char *file = running_file(r);

	return file != NULL && access(file, F_OK) == 0;
}

/* What a run before this one, whose host was killed, has left there. */
static int
end_left(struct run *r)
{
	struct exec e = { .action = "ending what was left", .tried = true };
	struct wordlist w = { .v = NULL };
	int status, attempt;

	run_exec_words(r, &w);
	words_add(r, &w, "--kill");
	words_add(r, &w, RUN_AGENT_ID);
	/* 1: it had ended by itself. */
	for (attempt = 0; (status = run_words(r, &e, &w)) > 1; attempt++)
		if (!run_may_try_again(r, status, attempt))
			return run_fail_exec(r, e.action, status, e.tail);
	return status == -1 ? -1 : 0;
}

static int
recover(struct run *r)
{
	if (was_running(r) && end_left(r) == -1)
		return -1;
	if (!run_sync_is_due(r))
		return 0;
	run_event(r, "recover", "due", "\"tree\":\"workspace\"");
	if (run_sync_back(r) == 0)
		return 0;
	/* Another sandbox than the one that had them, say: they are gone. */
	if (r->end->status != RUN_STATUS_NEVER || run_is_cancelled(r))
		return -1;
	buf_add_char(&r->end->message, '\0');
	r->o->warn("an earlier run's changes cannot be brought back",
	    buf_failed(&r->end->message) ? "" : r->end->message.data);
	buf_reset(&r->end->message, 0);
	r->end->status = 0;
	return 0;
}

/* Where things are now, for who looks at the events, or keeps a lease. */
static void
tell_places(struct run *r)
{
	const struct runconfig_asset *a = r->c->assets.v;
	struct buf assets = { .data = NULL };
	size_t i;

	for (i = 0; i < r->c->assets.n; i++) {
		buf_add_str(&assets, i > 0 ? "," : "");
		buf_add_str(&assets, run_quoted(r, a[i].key));
		buf_add_char(&assets, ':');
		buf_add_str(&assets, run_quoted(r, run_text(r, "%s/%s",
		    r->root, a[i].key)));
	}
	run_event(r, "sync-in", "realized", "\"remoteCwd\":%s,"
	    "\"runtimeRoot\":%s,\"assets\":{%.*s}", run_quoted(r, r->remote),
	    run_quoted(r, r->root), (int)assets.len,
	    assets.len > 0 ? assets.data : "");
	buf_free(&assets);
}

static int
start_bridge(struct run *r, struct bridge *b)
{
	if (r->c->api.url == NULL)
		return 0;
	r->bridge = b;
	return r->c->channel.stream ? bridge_start(b, r) :
	    bridge_start_host(b, r);
}

static int
agent(struct run *r)
{
	if (r->bridge != NULL && r->c->channel.stream &&
	    bridge_wait_up(r->bridge) == -1)
		return -1;
	if (mark_running(r) == -1)
		return -1;
	return run_command(r);
}

int
run_clean(struct run *r)
{
	struct exec e = { .action = "clean up", .tried = true };
	struct wordlist w = { .v = NULL };
	char *file = running_file(r);
	int attempt, status;

	/* Nothing was made that is not the runtime folder's. */
	if (r->queue != NULL || !r->c->channel.stream) {
		words_add(r, &w, r->tools);
		words_add(r, &w, "pc-file");
		words_add(r, &w, "remove");
		words_add(r, &w, "-r");
		words_add(r, &w, "-f");
		if (r->queue != NULL)
			words_add(r, &w, r->queue);
		words_add(r, &w, run_text(r, "%s/exec", r->root));
		words_add(r, &w, run_text(r, "%s/transfer", r->root));
		for (attempt = 0; (status = run_words(r, &e, &w)) > 0;
		    attempt++)
			if (!run_may_try_again(r, status, attempt))
				return run_fail_exec(r, e.action, status,
				    e.tail);
		if (status == -1)
			return -1;
	}
	if (file != NULL && !r->o->dry)
		(void)unlink(file);
	return 0;
}

/* Up to the agent: what fails here ends the run. */
static int
prepare(struct run *r, struct bridge *b)
{
	if (phase(r, "bootstrap", run_bootstrap) == -1 ||
	    phase(r, "recover", recover) == -1)
		return -1;
	/* It opens its channel while the workspace goes in. */
	if (start_bridge(r, b) == -1)
		return -1;
	if (phase(r, "sync-in", run_sync_in) == -1)
		return -1;
	tell_places(r);
	if (phase(r, "install", run_install) == -1 ||
	    phase(r, "provision", run_provision) == -1)
		return -1;
	return 0;
}

static void
finish(struct run *r, bool synced)
{
	r->finishing = true;
	r->stops_before = r->tasks.stops;
	/* Its files are to be as it has left them, and its calls answered. */
	if (r->agent_left)
		(void)end_left(r);
	if (r->bridge != NULL) {
		r->phase = "stop";
		bridge_stop(r->bridge);
		bridge_free(r->bridge);
		r->bridge = NULL;
	}
	if (synced && r->c->workspace.local != NULL)
		(void)phase(r, "sync-back", run_sync_back);
	(void)phase(r, "clean", run_clean);
}

static int
begin(struct run *r)
{
	r->remote = run_text(r, "%s", r->c->workspace.remote);
	r->root = run_text(r, "%s/.paperclip-runtime/%s", r->remote != NULL ?
	    r->remote : "", r->c->adapter);
	return r->remote != NULL && r->root != NULL ? 0 : -1;
}

int
run_agent(const struct run_options *o, struct run_end *end)
{
	struct run r = { .o = o, .c = o->config, .end = end, .phase = "" };
	struct bridge *bridge;
	bool synced = false;

	*end = (struct run_end){ .status = 0 };
	if ((bridge = fields_alloc(&r.memory, sizeof(*bridge))) == NULL ||
	    tasks_open(&r.tasks) == -1)
		return -1;
	if (begin(&r) == 0 && prepare(&r, bridge) == 0) {
		synced = true;
		(void)phase(&r, "agent", agent);
	}
	if (r.ready)
		finish(&r, synced);
	run_event(&r, "run", "end", "\"status\":%d,\"execs\":%u,"
	    "\"requests\":%llu,\"bytes\":%llu", end->status, r.execs,
	    (unsigned long long)r.requests, (unsigned long long)r.bytes);
	tasks_close(&r.tasks);
	fields_free(&r.memory);
	return 0;
}
