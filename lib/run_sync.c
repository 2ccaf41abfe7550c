/*
 * The workspace and the assets in, the workspace's changes back.
 *
 * Beside the identity's other files the host keeps, for each tree by its
 * name: NAME.base, the manifest of what the sandbox was given; NAME.have, of
 * what it has now, which the next way in starts from; NAME.due, while the
 * sandbox may have changes that were not brought back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base64.h"
#include "clock.h"
#include "io.h"
#include "lines.h"
#include "running.h"

#define PIECE_SHARE	2		/* of outputMax, as base64 and more */
#define PIECE_MAX	(RUN_OUTPUT_MAX / 2)	/* the same of what we keep */
#define REPORT_LINE_MAX	(1 << 20)

/* A tree, on both sides. */
struct sync {
	const char *name, *action;
	const char *local, *remote;
	const struct texts *exclude, *preserve;
	bool follow_links;
};

static char *
state_file(struct run *r, const struct sync *s, const char *what)
{
	return run_text(r, "%s/%s.%s", r->o->state, s->name, what);
}

/* The file and its cache get another name; missing ones stay missing. */
static int
rename_state(struct run *r, const struct sync *s, const char *from,
    const char *to)
{
	static const char *const suffixes[] = { ".cache", "" };
	char *old = state_file(r, s, from), *new = state_file(r, s, to);
	size_t i;

	if (old == NULL || new == NULL)
		return -1;
	if (r->o->dry)
		return 0;
	for (i = 0; i < 2; i++) {
		char *a = run_text(r, "%s%s", old, suffixes[i]);
		char *b = run_text(r, "%s%s", new, suffixes[i]);

		if (a == NULL || b == NULL)
			return -1;
		if (rename(a, b) == -1 && errno != ENOENT)
			return run_fail_errno(r, b);
	}
	return 0;
}

static void
remove_state(struct run *r, const struct sync *s, const char *what)
{
	char *file = state_file(r, s, what);

	if (file != NULL && !r->o->dry)
		(void)unlink(file);
}

static bool
has_state(struct run *r, const struct sync *s, const char *what)
{
	char *file = state_file(r, s, what);

	return file != NULL && access(file, F_OK) == 0;
}

static void
add_scope(struct run *r, struct wordlist *w, const struct sync *s)
{
	words_add_each(r, w, "-x", s->exclude);
	words_add_each(r, w, "-p", s->preserve);
}

/* --- in --------------------------------------------------------------------- */

enum start {
	START_FULL,		/* all of it, and nothing else remains there */
	START_HAVE,		/* what differs from NAME.have */
	START_PARTIAL		/* what a cut transfer did not bring */
};

/*
 * A pipe whose reader is t's far side, with t's request in it already; the
 * end for the writer, or -1.
 */
static int
pipe_with_request(struct run *r, const struct wordlist *w, int *reader)
{
	struct buf request = { 0 };
	int ends[2], result = -1;

	if (run_put_request(r, &request, w) == -1)
		goto out;
	if (pipe2(ends, O_CLOEXEC) == -1) {
		(void)run_fail_errno(r, "pipe");
		goto out;
	}
	io_widen_pipe(ends[1]);
	/* It cannot block: the pipe is empty, and has room for a request. */
	if (fcntl(ends[1], F_SETFL, O_NONBLOCK) == -1 ||
	    io_write_all(ends[1], request.data, request.len) == -1 ||
	    fcntl(ends[1], F_SETFL, 0) == -1) {
		(void)run_fail_errno(r, "request");
		io_close(ends[0]);
		io_close(ends[1]);
		goto out;
	}
	*reader = ends[0];
	result = ends[1];
out:
	buf_free(&request);
	return result;
}

/* The outcome of two programs of which the one feeds the other. */
struct outcome {
	int status;		/* 0; else of the one that is to blame */
	bool far;		/* which was in the sandbox */
	struct span tail;
	char text[TASK_TAIL];
};

static void
blame(struct outcome *o, const struct task *t, bool far)
{
	o->status = t->status;
	o->far = far;
	memcpy(o->text, t->tail, t->tail_len);
	o->tail = (struct span){ o->text, t->tail_len };
}

/* The first to know the reason: the other only saw its pipe end. */
static void
find_blame(struct outcome *o, const struct task *first, bool first_is_far,
    const struct task *second)
{
	*o = (struct outcome){ .status = 0 };
	if (first->status == RUN_STATUS_NEVER)
		blame(o, first, first_is_far);
	else if (second->status != 0 && (second->status != RUN_STATUS_LATER ||
	    first->status == 0 || first->status == RUN_STATUS_LATER ||
	    first->status == 128 + SIGPIPE))
		blame(o, second, !first_is_far);
	else if (first->status != 0)
		blame(o, first, first_is_far);
}

static int
send_tree(struct run *r, const struct sync *s, enum start start, bool clean,
    struct outcome *o)
{
	struct wordlist pack = { .v = NULL }, unpack = { .v = NULL };
	struct task near, far, *const both[] = { &near, &far };
	int reader = -1, writer, result = -1;

	words_add(r, &pack, run_text(r, "%s/pc-tarsync", r->o->tools));
	words_add(r, &pack, "pack");
	words_add(r, &pack, "-C");
	words_add(r, &pack, s->local);
	add_scope(r, &pack, s);
	if (s->follow_links)
		words_add(r, &pack, "-L");
	if (start != START_FULL) {
		words_add(r, &pack, "--since");
		words_add(r, &pack, state_file(r, s,
		    start == START_HAVE ? "have" : "partial"));
	}
	words_add(r, &pack, "--manifest");
	words_add(r, &pack, state_file(r, s, "new"));
	if (r->c->channel.text)
		words_add(r, &pack, "--base64");
	words_add(r, &unpack, r->tools);
	words_add(r, &unpack, "pc-tarsync");
	words_add(r, &unpack, "unpack");
	words_add(r, &unpack, "-C");
	words_add(r, &unpack, s->remote);
	add_scope(r, &unpack, s);
	if (clean)
		words_add(r, &unpack, "--clean");
	task_init(&near, "pack", NULL, NULL);
	task_init(&far, "unpack", NULL, NULL);
	far.finish = near.finish = true;
	if ((writer = pipe_with_request(r, &unpack, &reader)) == -1)
		return -1;
	if (r->o->dry)
		(void)run_put_request(r, &far.to, &unpack);	/* to be shown */
	if (run_start_exec(r, &far, EXEC_BECOME, reader, -1) == -1) {
		io_close(writer);
	} else if (run_start_local(r, &near, &pack, -1, writer, false) == 0 &&
	    run_wait(r, s->action, both, 2, 0) == 0) {
		find_blame(o, &near, false, &far);
		result = 0;
	}
	task_drop(&r->tasks, &near);
	task_drop(&r->tasks, &far);
	return result;
}

/* What came of a transfer that was cut short, into NAME.partial. */
static bool
fetch_partial(struct run *r, const struct sync *s)
{
	struct exec e = { .action = "snapshot", .tried = true };
	struct wordlist w = { .v = NULL };
	struct buf out = { 0 };
	char *file = state_file(r, s, "partial");
	bool got = false;
	int fd;

	words_add(r, &w, r->tools);
	words_add(r, &w, "pc-tarsync");
	words_add(r, &w, "snapshot");
	words_add(r, &w, "--partial");
	words_add(r, &w, "-C");
	words_add(r, &w, s->remote);
	add_scope(r, &w, s);
	e.out = &out;
	if (file == NULL || run_words(r, &e, &w) != 0 || out.len == 0 ||
	    out.len >= RUN_OUTPUT_MAX)
		goto out;
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1)
		goto out;
	got = io_write_all(fd, out.data, out.len) == 0;
	got = close(fd) == 0 && got;
out:
	buf_free(&out);
	return got;
}

static int
fail_sync(struct run *r, const struct sync *s, const struct outcome *o)
{
	return run_fail_exec(r, s->action, o->status, o->tail);
}

static int
sync_in(struct run *r, const struct sync *s)
{
	enum start start = has_state(r, s, "have") ? START_HAVE : START_FULL;
	int64_t began = clock_mono_ms();
	bool clean = start == START_FULL;
	struct outcome o;
	int attempt;

	for (attempt = 0;; attempt++) {
		if (send_tree(r, s, start, clean, &o) == -1)
			return -1;
		if (o.status == 0)
			break;
		run_event(r, "sync-in", "failed", "\"tree\":%s,"
		    "\"status\":%d,\"attempt\":%d", run_quoted(r, s->name),
		    o.status, attempt + 1);
		/* It is not what we take it for: then all of it. */
		if (o.far && o.status == RUN_STATUS_NEVER &&
		    start != START_FULL) {
			start = START_FULL;
			clean = true;
			continue;
		}
		if (!run_may_try_again(r, o.status, attempt))
			return fail_sync(r, s, &o);
		if (fetch_partial(r, s))
			start = START_PARTIAL;
	}
	remove_state(r, s, "partial");
	/* What it has is known again when its changes have come back. */
	remove_state(r, s, "have");
	if (rename_state(r, s, "new", "base") == -1)
		return -1;
	run_event(r, "sync-in", "tree", "\"tree\":%s,\"full\":%s,"
	    "\"durationMs\":%lld", run_quoted(r, s->name),
	    start == START_FULL ? "true" : "false",
	    (long long)(clock_mono_ms() - began));
	return 0;
}

static struct sync
workspace(struct run *r, const char *action)
{
	const struct runconfig_workspace *w = &r->c->workspace;

	return (struct sync){ .name = "workspace", .action = action,
	    .local = w->local, .remote = r->remote, .exclude = &w->exclude,
	    .preserve = &w->preserve };
}

static int
sync_asset(struct run *r, const struct runconfig_asset *a)
{
	static const struct texts none = { NULL, 0 };
	struct sync s = { .name = run_text(r, "asset-%s", a->key),
	    .action = run_text(r, "asset %s", a->key), .local = a->local,
	    .remote = run_text(r, "%s/%s", r->root, a->key),
	    .exclude = &a->exclude, .preserve = &none,
	    .follow_links = a->follow_links };

	if (s.name == NULL || s.action == NULL || s.remote == NULL)
		return -1;
	if (sync_in(r, &s) == -1)
		return -1;
	/* Nothing of it comes back: it has what it was given. */
	return rename_state(r, &s, "base", "have");
}

int
run_sync_in(struct run *r)
{
	const struct runconfig_asset *assets = r->c->assets.v;
	struct sync s = workspace(r, "sync in");
	size_t i;
	int fd = -1;

	if (s.local != NULL) {
		char *due = state_file(r, &s, "due");

		if (sync_in(r, &s) == -1)
			return -1;
		/* From here on it may have changes. */
		if (due == NULL || (!r->o->dry && (fd = open(due, O_WRONLY |
		    O_CREAT | O_CLOEXEC, 0600)) == -1))
			return run_fail_errno(r, due);
		if (!r->o->dry)
			io_close(fd);
	}
	for (i = 0; i < r->c->assets.n; i++)
		if (sync_asset(r, &assets[i]) == -1)
			return -1;
	return 0;
}

/* --- back ------------------------------------------------------------------- */

/* The report of the merge, a line each. */
struct report {
	struct run *r;
	struct lines lines;
	uint64_t conflicts, changes;
};

static void
take_report(struct report *m, struct span line)
{
	struct json j = { .tokens = NULL };
	bool path = false, conflict = false;
	size_t at;

	if (json_parse(&j, line) == 0 && json_type_of(&j, 0) == JSON_OBJECT)
		for (at = 1; at < j.count; at = json_skip(&j, at + 1)) {
			struct span key = json_raw(&j, at);

			if (json_string_is(key, "path") ||
			    json_string_is(key, "pathBase64"))
				path = true;
			if (json_string_is(key, "conflict") &&
			    json_type_of(&j, at + 1) != JSON_NULL &&
			    !span_is(json_raw(&j, at + 1), "false"))
				conflict = true;
		}
	json_free(&j);
	if (!path)
		return;
	m->changes++;
	m->conflicts += conflict;
	if (conflict)
		run_event(m->r, "sync-back", "conflict", "\"report\":%.*s",
		    (int)line.n, line.p);
}

static void
read_report(struct task *t, struct span bytes)
{
	struct report *m = t->arg;
	struct span line;
	enum lines_result kind;

	lines_add(&m->lines, bytes);
	while ((kind = lines_next(&m->lines, &line)) != LINES_NONE)
		if (kind == LINES_LINE)
			take_report(m, line);
}

static void
merge_words(struct run *r, struct wordlist *w, const struct sync *s)
{
	words_add(r, w, run_text(r, "%s/pc-tarsync", r->o->tools));
	words_add(r, w, "merge");
	words_add(r, w, "--baseline");
	words_add(r, w, state_file(r, s, "base"));
	words_add(r, w, "-C");
	words_add(r, w, s->local);
	words_add(r, w, run_text(r, "--conflict=%s",
	    r->c->workspace.conflict));
	words_add(r, w, "--source-manifest");
	words_add(r, w, state_file(r, s, "have"));
}

static void
pack_words(struct run *r, struct wordlist *w, const struct sync *s)
{
	words_add(r, w, r->tools);
	words_add(r, w, "pc-tarsync");
	words_add(r, w, "pack");
	words_add(r, w, "-C");
	words_add(r, w, s->remote);
	words_add(r, w, "--since");
	words_add(r, w, run_text(r, "%s/.paperclip-runtime/manifest",
	    s->remote));
}

/* One exec, whose output the merge reads. */
static int
take_stream(struct run *r, const struct sync *s, struct report *m,
    struct outcome *o)
{
	struct wordlist pack = { .v = NULL }, merge = { .v = NULL };
	struct task near, far, *const both[] = { &near, &far };
	int ends[2], result = -1;

	pack_words(r, &pack, s);
	if (r->c->channel.text)
		words_add(r, &pack, "--base64");
	merge_words(r, &merge, s);
	task_init(&near, "merge", read_report, m);
	task_init(&far, "pack", NULL, NULL);
	far.finish = near.finish = true;
	if (run_put_request(r, &far.to, &pack) == -1)
		return -1;
	if (pipe2(ends, O_CLOEXEC) == -1) {
		(void)run_fail_errno(r, "pipe");
		goto out;
	}
	io_widen_pipe(ends[1]);
	if (run_start_exec(r, &far, EXEC_BECOME, -1, ends[1]) == -1)
		io_close(ends[0]);
	else if (run_start_local(r, &near, &merge, ends[0], -1, false) == 0 &&
	    run_wait(r, s->action, both, 2, 0) == 0) {
		find_blame(o, &far, true, &near);
		result = 0;
	}
out:
	task_drop(&r->tasks, &near);
	task_drop(&r->tasks, &far);
	return result;
}

static uint64_t
piece_size(const struct run *r)
{
	uint64_t size = r->c->channel.output_max / PIECE_SHARE;

	return size < PIECE_MAX ? size : PIECE_MAX;
}

/* A piece of the file at offset, decoded: its length, 0 at the end, or -1. */
static ssize_t
fetch_piece(struct run *r, const char *file, uint64_t offset,
    struct buf *bytes)
{
	struct exec e = { .action = "fetching the changes" };
	struct wordlist w = { .v = NULL };
	struct buf text = { 0 };
	ssize_t n = -1;

	words_add(r, &w, r->tools);
	words_add(r, &w, "pc-file");
	words_add(r, &w, "get");
	words_add(r, &w, "--base64");
	words_add(r, &w, "--offset");
	words_add(r, &w, run_text(r, "%llu", (unsigned long long)offset));
	words_add(r, &w, "--length");
	words_add(r, &w, run_text(r, "%llu",
	    (unsigned long long)piece_size(r)));
	words_add(r, &w, file);
	e.out = &text;
	if (run_words(r, &e, &w) == 0) {
		size_t kept = 0, i;

		/* Lines of base64 are one text. */
		for (i = 0; i < text.len; i++)
			if (text.data[i] != '\n' && text.data[i] != '\r')
				text.data[kept++] = text.data[i];
		if (base64_is_canonical((struct span){ text.data, kept }) &&
		    base64_decode(bytes, (struct span){ text.data, kept }) ==
		    0)
			n = (ssize_t)bytes->len;
		else
			(void)run_fail(r, RUN_STATUS_LATER, "fetching the "
			    "changes: not base64");
	}
	buf_free(&text);
	return n;
}

/* The pieces go to the merge as they come: none but one is in memory. */
static int
feed_pieces(struct run *r, const char *file, struct task *near)
{
	uint64_t offset = 0;
	ssize_t n;

	do {
		struct fields_memory before = run_scratch(r);
		struct buf bytes = { 0 };

		n = fetch_piece(r, file, offset, &bytes);
		run_give_back(r, before);
		if (n == -1) {
			buf_free(&bytes);
			return -1;
		}
		offset += (uint64_t)n;
		buf_add_span(&near->to, buf_span(&bytes));
		buf_free(&bytes);
		while (task_pending(near) > 0 && !near->ended)
			if (tasks_wait(&r->tasks, -1) == -1)
				return run_fail_errno(r, "merge");
	} while (n > 0 && !near->ended && !r->o->dry);
	return 0;
}

/* A channel that caps its output: into a file there, and that in pieces. */
static int
take_pieces(struct run *r, const struct sync *s, struct report *m,
    struct outcome *o)
{
	struct wordlist pack = { .v = NULL }, merge = { .v = NULL };
	char *file = run_text(r, "%s/transfer", r->root);
	struct exec e = { .action = s->action, .tried = true };
	struct task near, *const one[] = { &near };
	int status, result = -1;

	pack_words(r, &pack, s);
	words_add(r, &pack, "-z");
	words_add(r, &pack, "-o");
	words_add(r, &pack, file);
	if (file == NULL || (status = run_words(r, &e, &pack)) == -1)
		return -1;
	*o = (struct outcome){ .status = status, .far = true };
	memcpy(o->text, e.tail_text, e.tail.n);
	o->tail = (struct span){ o->text, e.tail.n };
	if (status != 0)
		return 0;
	merge_words(r, &merge, s);
	task_init(&near, "merge", read_report, m);
	if (run_start_local(r, &near, &merge, -1, -1, false) == 0 &&
	    feed_pieces(r, file, &near) == 0) {
		near.finish = true;
		if (run_wait(r, s->action, one, 1, 0) == 0) {
			if (near.status != 0)
				blame(o, &near, false);
			result = 0;
		}
	}
	task_drop(&r->tasks, &near);
	return result;
}

bool
run_sync_is_due(struct run *r)
{
	struct sync s = workspace(r, "sync back");

	return s.local != NULL && has_state(r, &s, "due");
}

int
run_sync_back(struct run *r)
{
	struct sync s = workspace(r, "sync back");
	int64_t began = clock_mono_ms();
	struct outcome o;
	int attempt;

	for (attempt = 0;; attempt++) {
		struct report m = { .r = r, .lines = { .fd = -1,
		    .max = REPORT_LINE_MAX } };
		int result = r->c->channel.output_max > 0 ?
		    take_pieces(r, &s, &m, &o) : take_stream(r, &s, &m, &o);

		lines_free(&m.lines);
		if (result == -1)
			return -1;
		if (o.status == 0) {
			remove_state(r, &s, "due");
			run_event(r, "sync-back", "tree", "\"changes\":%llu,"
			    "\"conflicts\":%llu,\"durationMs\":%lld",
			    (unsigned long long)m.changes,
			    (unsigned long long)m.conflicts,
			    (long long)(clock_mono_ms() - began));
			if (m.conflicts > 0)
				r->o->warn(s.local, run_text(r, "%llu "
				    "conflicts: both versions are kept, see "
				    ".paperclip-runtime/conflicts",
				    (unsigned long long)m.conflicts));
			return 0;
		}
		run_event(r, "sync-back", "failed", "\"status\":%d,"
		    "\"attempt\":%d", o.status, attempt + 1);
		if (!run_may_try_again(r, o.status, attempt))
			return fail_sync(r, &s, &o);
	}
}
