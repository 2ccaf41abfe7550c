#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apply.h"
#include "io.h"
#include "merge_plan.h"
#include "stage.h"

#define LINES	"lines"
#define DELETED	"deleted"
#define MODES	"modes"
#define RUN_SIZE 40

struct merging {
	const struct merge *m;
	struct fault *f;
	struct stage stage;
	int lines, deleted, modes;
	char run[RUN_SIZE];
};

static int
state_fault(struct fault *f)
{
	return fault_system(f, span_of("journal"));
}

/* The folder of this run's conflicts, new each time. */
static void
name_run(char run[static RUN_SIZE])
{
	struct timespec now;
	struct tm tm;
	char text[20];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y%m%dT%H%M%S", &tm);
	snprintf(run, RUN_SIZE, "%s.%03uZ-%d", text,
	    (unsigned)(now.tv_nsec / 1000000 % 1000), (int)getpid());
}

/* --- receiving --- */

static int
receive(struct merging *k)
{
	const struct merge *m = k->m;
	struct receive r = { .source = m->source,
	    .scope = manifest_scope(m->baseline), .limits = m->limits,
	    .folder_mode = 0755, .sums = true, .tree = k->stage.new,
	    .notices = m->notices, .meter = m->meter };
	char since[MANIFEST_ID_SIZE] = "", id[MANIFEST_ID_SIZE];
	bool delta;
	int got = -1;

	k->lines = r.lines = stage_file(&k->stage, LINES);
	k->deleted = r.deleted = stage_file(&k->stage, DELETED);
	k->modes = r.modes = stage_file(&k->stage, MODES);
	r.tar = tar_read_open(m->source);
	if (k->lines == -1 || k->deleted == -1 || k->modes == -1 ||
	    r.tar == NULL)
		fault_system(k->f, span_of("staging"));
	else if (manifest_id(m->baseline, id, k->f) == 0 &&
	    receive_begin(&r, &delta, since, k->f) == 0) {
		if (!delta)
			fault_input(k->f, span_of("archive"), "does not say "
			    "which baseline it starts from");
		else if (strcmp(since, id) != 0)
			fault_input(k->f, span_of("archive"),
			    "starts from another baseline");
		else
			got = receive_all(&r, k->f);
	}
	receive_free(&r);
	tar_read_free(r.tar);
	return got;
}

/* A new reader of what was received. */
static struct manifest *
open_lines(struct merging *k)
{
	int fd = dup(k->lines);

	if (fd == -1) {
		fault_system(k->f, span_of("staging"));
		return NULL;
	}
	return manifest_open_lines(fd, "archive", k->f);
}

/*
 * What the source has now.  Also the proof that baseline and delta make a
 * tree: no entry without its folder.
 */
static int
write_source(struct merging *k)
{
	struct manifest_writer none = { .fd = -1 }, *out;
	struct manifest *lines = open_lines(k);
	int got = -1;

	out = k->m->source_manifest != NULL ? k->m->source_manifest : &none;
	if (lines != NULL) {
		if (manifest_begin(out,
		    manifest_scope(k->m->baseline)) == -1)
			state_fault(k->f);
		else
			got = manifest_patch(k->m->baseline, lines,
			    k->deleted, false, out, k->f);
	}
	manifest_free(lines);
	manifest_writer_free(&none);
	manifest_rewind(k->m->baseline);
	return got;
}

/* --- the plan --- */

static int
write_plan(struct merging *k, uint64_t *conflicts)
{
	const struct merge *m = k->m;
	struct journal_writer out = { .fd = -1 };
	struct merge_plan p = { .m = m, .f = k->f, .base = m->baseline,
	    .deleted_fd = k->deleted,
	    .plan = { .root = m->root, .new = k->stage.new,
	    .modes = k->modes, .scope = manifest_scope(m->baseline),
	    .out = &out, .f = k->f } };
	int got = -1;

	out.fd = openat(m->state, MERGE_PLAN, O_WRONLY | O_CREAT | O_TRUNC |
	    O_NOFOLLOW | O_CLOEXEC, 0600);
	p.lines = open_lines(k);
	p.deleted = path_list_open(k->deleted);
	if (out.fd == -1 || p.deleted == NULL ||
	    journal_begin(&out, k->stage.ino, false, span_of(k->run)) == -1)
		state_fault(k->f);
	else if (p.lines != NULL && plan_open(&p.plan) == 0)
		got = merge_plan_all(&p);
	if (got == 0 && journal_end(&out, m->sync) == -1)
		got = state_fault(k->f);
	*conflicts = p.conflicts;
	plan_free(&p.plan);
	manifest_free(p.lines);
	path_list_free(p.deleted);
	buf_free(&p.region_top);
	buf_free(&p.last_put);
	journal_writer_free(&out);
	io_close(out.fd);
	return got;
}

static struct journal *
open_journal(int state, const char *name, struct fault *f)
{
	struct journal *j = journal_open(openat(state, name, O_RDONLY |
	    O_NOFOLLOW | O_CLOEXEC));

	if (j == NULL)
		state_fault(f);
	return j;
}

static int
report(struct merging *k, struct journal *j)
{
	struct journal_record r;
	int got;

	journal_to_start(j);
	while ((got = journal_next(j, &r)) == 1)
		if (r.action != ACTION_NONE &&
		    k->m->report(k->m->arg, &r, journal_run(j)) == -1)
			return -1;
	return got == -1 ? state_fault(k->f) : 0;
}

/* --- doing it --- */

static int
carry_out(struct stage *s, struct journal *j, int state,
    const struct merge *m, struct fault *f)
{
	struct apply a = { .root = s->root, .runtime = s->runtime,
	    .staging = s->dir };

	if (m != NULL) {
		a.surprise = m->surprise;
		a.arg = m->arg;
	}
	if (apply_journal(&a, j, f) == -1)
		return -1;
	if (m != NULL && m->sync && syncfs(s->dir) == -1)
		return fault_system(f, span_of("."));
	if (unlinkat(state, MERGE_JOURNAL, 0) == -1)
		return state_fault(f);
	return stage_remove(s, f);
}

/* What is in the tree now, so that the next way in need not read it. */
static int
write_cache(struct merging *k)
{
	struct manifest *lines;
	int got;

	if (k->m->source_cache == NULL || k->m->cache == NULL)
		return 0;
	if ((lines = open_lines(k)) == NULL)
		return -1;
	statcache_rewind(k->m->cache);
	got = tree_update_cache(k->m->root, lines, k->m->cache,
	    k->m->source_cache, k->f);
	manifest_free(lines);
	return got;
}

static int
decide(struct merging *k)
{
	const struct merge *m = k->m;
	struct journal *j;
	uint64_t conflicts;
	bool only_say;
	int got;

	if (write_plan(k, &conflicts) == -1)
		return -1;
	only_say = m->dry_run ||
	    (m->policy == CONFLICT_FAIL && conflicts > 0);
	if (!only_say && ((m->sync && syncfs(k->stage.dir) == -1) ||
	    renameat(m->state, MERGE_PLAN, m->state, MERGE_JOURNAL) == -1))
		return state_fault(k->f);
	j = open_journal(m->state, only_say ? MERGE_PLAN : MERGE_JOURNAL,
	    k->f);
	if (j == NULL)
		return -1;
	got = only_say ? 0 : carry_out(&k->stage, j, m->state, m, k->f);
	if (got == 0)
		got = write_cache(k);
	if (got == 0)
		got = report(k, j);
	journal_free(j);
	return got == 0 && m->policy == CONFLICT_FAIL && conflicts > 0 ?
	    1 : got;
}

/* 1, 0, or -1 with errno. */
static int
has_journal(int state)
{
	struct stat st;

	if (fstatat(state, MERGE_JOURNAL, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT ? 0 : -1;
}

int
merge_tree(const struct merge *m, struct fault *f)
{
	struct merging k = { .m = m, .f = f, .lines = -1, .deleted = -1,
	    .modes = -1 };
	int got = -1;

	if (merge_recover(m->root, m->state, m->deadline, f) == -1 ||
	    stage_open(&k.stage, m->root, MERGE_STAGE, m->deadline, f) == -1)
		return -1;
	name_run(k.run);
	if (stage_check_place(&k.stage, CONFLICTS, true, f) == 0 &&
	    stage_fresh(&k.stage, f) == 0 && receive(&k) == 0 &&
	    write_source(&k) == 0)
		got = decide(&k);
	/* Until there is a journal, nothing was done: nothing is left. */
	if (has_journal(m->state) == 0) {
		unlinkat(m->state, MERGE_PLAN, 0);
		if (stage_remove(&k.stage, f) == -1)
			got = -1;
	}
	io_close(k.lines);
	io_close(k.deleted);
	io_close(k.modes);
	stage_close(&k.stage);
	return got;
}

/* A journal whose staging folder is gone, or another, cannot be followed. */
static int
finish(struct stage *s, int state, struct fault *f)
{
	struct fault gone = { .kind = FAULT_NONE };
	struct journal *j = open_journal(state, MERGE_JOURNAL, f);
	int got, error;

	if (j == NULL)
		return -1;
	got = stage_again(s, &gone);
	error = gone.error;
	fault_clear(&gone);
	if (got == -1 && error != ENOENT && error != ENOTDIR &&
	    error != ELOOP) {
		errno = error;
		fault_system(f, span_of(SCOPE_RUNTIME "/" MERGE_STAGE));
	} else if (got == -1 || s->ino != journal_staging_ino(j)) {
		unlinkat(state, MERGE_JOURNAL, 0);
		got = fault_cut(f, span_of(SCOPE_RUNTIME "/" MERGE_STAGE),
		    "an interrupted merge cannot be finished: "
		    "what it had received is gone");
	} else {
		got = carry_out(s, j, state, NULL, f);
	}
	journal_free(j);
	return got == -1 ? -1 : 1;
}

int
merge_recover(int root, int state, int64_t deadline, struct fault *f)
{
	struct stage s;
	int journal = has_journal(state), got = 0;

	if (journal == 0 && (got = stage_is_left(root, MERGE_STAGE)) == 0)
		return 0;
	if (journal == -1 || got == -1)
		return state_fault(f);
	got = 0;
	if (stage_open(&s, root, MERGE_STAGE, deadline, f) == -1)
		return -1;
	if (journal == 1)
		got = finish(&s, state, f);
	else if (stage_remove(&s, f) == -1)
		got = -1;
	unlinkat(state, MERGE_PLAN, 0);
	stage_close(&s);
	return got;
}
