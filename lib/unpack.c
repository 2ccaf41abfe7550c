#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apply.h"
#include "io.h"
#include "plan.h"
#include "unpacking.h"

/* --- receiving --- */

static int
receive(struct unpacking *k)
{
	struct receive *r = &k->r;
	int got, about;

	k->lines = stage_file(&k->stage, LINES);
	k->deleted = stage_file(&k->stage, DELETED);
	k->modes = stage_file(&k->stage, MODES);
	if (k->lines == -1 || k->deleted == -1 || k->modes == -1)
		return staging_fault(k->f);
	r->scope = k->use;
	r->replace = k->start == START_AGAIN;
	r->sums = k->u->manifest || k->start != START_WHOLE;
	r->tree = k->stage.new;
	r->lines = k->lines;
	r->deleted = k->deleted;
	r->modes = k->modes;
	/* From here on, what came can be gone on from. */
	if ((about = stage_has(&k->stage, STAGE_ABOUT)) == -1)
		return staging_fault(k->f);
	if (r->sums && k->start != START_REPEAT && about == 0 &&
	    unpack_write_about(k) == -1)
		return -1;
	got = receive_all(r, k->f);
	if (got == 0 || (k->f->kind == FAULT_CUT &&
	    stage_has(&k->stage, STAGE_ABOUT) != 0 && r->ordered))
		return got;
	/* Of no use any more, and perhaps what fills the disk. */
	stage_remove(&k->stage, k->f);
	return -1;
}

/* --- the plan --- */

static int
plan_changes(struct unpacking *k, struct plan *p)
{
	struct manifest *before, *after = NULL;
	int got = -1;

	if (plan_put(p, false) == -1)
		return -1;
	if (k->start == START_DELTA)
		return plan_delete_list(p, k->deleted);
	before = staged_manifest(k->stage.dir, ORIGIN, false, k->f);
	if (before != NULL)
		after = staged_manifest(k->stage.dir, RESULT, false, k->f);
	if (after != NULL)
		got = plan_delete(p, before, after);
	manifest_free(before);
	manifest_free(after);
	return got;
}

static int
plan_steps(struct unpacking *k, struct plan *p)
{
	bool whole = k->use->npatterns == 0;

	if (k->delta_origin)
		return plan_changes(k, p);
	if (!k->u->clean)
		return plan_put(p, false);
	if (whole)
		return plan_clean_whole(p) == -1 ? -1 : plan_put(p, true);
	return plan_put(p, false) == -1 ? -1 : plan_clean_entries(p);
}

/* Written whole, then given its name: from then on it will be done. */
static int
write_plan(struct unpacking *k, bool manifest)
{
	struct journal_writer out = { .fd = staged_file(&k->stage, PLAN) };
	struct span none = { NULL, 0 };
	struct plan p = { .root = k->u->root, .new = k->stage.new,
	    .modes = k->modes, .scope = k->use, .out = &out, .f = k->f };
	int dir = k->stage.dir, got = -1;

	if (out.fd == -1 ||
	    journal_begin(&out, k->stage.ino, manifest, none) == -1)
		staging_fault(k->f);
	else if (plan_open(&p) == 0)
		got = plan_steps(k, &p);
	if (got == 0 && (journal_end(&out, k->u->sync) == -1 ||
	    (k->u->sync && syncfs(dir) == -1) ||
	    renameat(dir, PLAN, dir, STAGE_JOURNAL) == -1))
		got = staging_fault(k->f);
	plan_free(&p);
	journal_writer_free(&out);
	io_close(out.fd);
	return got;
}

/* --- the end --- */

static const char *const stored_names[] = { STORED_MANIFEST, STORED_NEXT,
    STORED_MANIFEST CACHE_SUFFIX, STORED_NEXT CACHE_SUFFIX };
#define STORED_NAMES	(sizeof(stored_names) / sizeof(stored_names[0]))

/* Nothing may be in the way at the end, when the tree is changed already. */
static int
check_stored(const struct stage *s, struct fault *f)
{
	size_t i;

	for (i = 0; i < STORED_NAMES; i++)
		if (stage_check_place(s, stored_names[i], false, f) == -1)
			return -1;
	return 0;
}

static int
store_result(struct stage *s, struct fault *f)
{
	if (renameat(s->dir, RESULT CACHE_SUFFIX, s->runtime,
	    STORED_MANIFEST CACHE_SUFFIX) == -1 && errno != ENOENT)
		return staging_fault(f);
	if (renameat(s->dir, RESULT, s->runtime, STORED_MANIFEST) == -1 &&
	    errno != ENOENT)
		return staging_fault(f);
	if (unlinkat(s->runtime, STORED_NEXT, 0) == -1 && errno != ENOENT)
		return staging_fault(f);
	unlinkat(s->runtime, STORED_NEXT CACHE_SUFFIX, 0);
	return 0;
}

static int
forget_stored(struct stage *s, struct fault *f)
{
	size_t i;

	for (i = 0; i < STORED_NAMES; i++)
		if (unlinkat(s->runtime, stored_names[i], 0) == -1 &&
		    errno != ENOENT)
			return staging_fault(f);
	return 0;
}

/* Does what the journal says; after is called between it and the end. */
static int
finish(struct stage *s, int (*after)(struct unpacking *), struct unpacking *k,
    struct fault *f)
{
	struct apply a = { .root = s->root, .runtime = s->runtime,
	    .staging = s->dir };
	struct journal *j;
	int fd = openat(s->dir, STAGE_JOURNAL, O_RDONLY | O_NOFOLLOW |
	    O_CLOEXEC), got;

	if (fd == -1 || ((j = journal_open(fd)) == NULL && errno != EBADMSG))
		return staging_fault(f);
	if (j == NULL || journal_staging_ino(j) != s->ino) {
		journal_free(j);
		return fault_input(f, span_of(SCOPE_RUNTIME "/" UNPACK_STAGE
		    "/" STAGE_JOURNAL), "not a journal of this folder");
	}
	got = check_stored(s, f);
	if (got == 0)
		got = apply_journal(&a, j, f);
	if (got == 0 && after != NULL)
		got = after(k);
	if (got == 0)
		got = journal_has_manifest(j) ? store_result(s, f) :
		    forget_stored(s, f);
	journal_free(j);
	/* A step that failed may succeed later: the journal stays. */
	if (got == -1)
		return -1;
	if ((unlinkat(s->dir, STAGE_ABOUT, 0) == -1 && errno != ENOENT) ||
	    unlinkat(s->dir, STAGE_JOURNAL, 0) == -1)
		return staging_fault(f);
	return stage_remove(s, f);
}

/*
 * A delta from another tree: if it changes nothing, it came before, and its
 * sender did not hear of it.
 */
static int
check_repeat(struct unpacking *k)
{
	char before[MANIFEST_ID_SIZE], after[MANIFEST_ID_SIZE];
	struct manifest *m;
	int got;

	if (staged_result_write(&k->stage, RESULT, false, after,
	    k->f) == -1)
		return unpack_wrong_start(k);
	if ((m = staged_manifest(k->stage.dir, ORIGIN, false, k->f)) == NULL)
		return -1;
	got = manifest_id(m, before, k->f);
	manifest_free(m);
	if (got == 0 && strcmp(before, after) != 0)
		return unpack_wrong_start(k);
	return got == -1 ? -1 : stage_remove(&k->stage, k->f);
}

static int
carry_out(struct unpacking *k)
{
	bool ordered = k->r.sums && k->r.ordered;
	bool manifest = k->u->manifest;
	char id[MANIFEST_ID_SIZE];

	if (k->start == START_REPEAT)
		return check_repeat(k);
	if (ordered && staged_result_write(&k->stage, RESULT, false, id,
	    k->f) == -1)
		return -1;
	if (k->start == START_AGAIN &&
	    staged_settle(&k->stage, k->modes, k->f) == -1) {
		/* Nobody can go on from that. */
		stage_remove(&k->stage, k->f);
		return -1;
	}
	if (write_plan(k, manifest) == -1)
		return -1;
	if (!manifest)
		return finish(&k->stage, NULL, NULL, k->f);
	return finish(&k->stage, ordered ? unpack_write_cache :
	    unpack_write_snapshot, k, k->f);
}

static int
unpack_staged(struct unpacking *k)
{
	const struct unpack *u = k->u;
	char since[MANIFEST_ID_SIZE] = "";
	bool delta;

	k->r = (struct receive){ .source = u->source, .scope = u->scope,
	    .limits = u->limits, .folder_mode = u->folder_mode,
	    .links_inside = u->links_inside, .notices = u->notices,
	    .meter = u->meter };
	k->r.tar = tar_read_open(u->source);
	if (k->r.tar == NULL)
		return fault_system(k->f, span_of("archive"));
	if (receive_begin(&k->r, &delta, since, k->f) == -1 ||
	    unpack_find_start(k, delta, since) == -1)
		return -1;
	/* The sender is still looking for what changed: look here meanwhile. */
	if (k->delta_origin && !k->origin_checked &&
	    unpack_check_origin(k) == -1)
		return -1;
	if (receive(k) == -1)
		return -1;
	return carry_out(k);
}

static int
recover(struct stage *s, struct fault *f)
{
	int journal = stage_has(s, STAGE_JOURNAL), about;

	if (journal == -1 || (about = stage_has(s, STAGE_ABOUT)) == -1)
		return staging_fault(f);
	if (journal == 1)
		return stage_again(s, f) == -1 ? -1 :
		    finish(s, NULL, NULL, f);
	return about == 1 ? 0 : stage_remove(s, f);
}

int
unpack_tree(const struct unpack *u, struct fault *f)
{
	struct unpacking k = { .u = u, .f = f, .lines = -1, .deleted = -1,
	    .modes = -1 };
	int got;

	if (stage_open(&k.stage, u->root, UNPACK_STAGE, u->deadline, f) == -1)
		return -1;
	if (check_stored(&k.stage, f) == -1) {
		stage_close(&k.stage);
		return -1;
	}
	got = recover(&k.stage, f);
	if (got == 0)
		got = unpack_staged(&k);
	/* What is refused leaves nothing; what was cut short, or begun, stays. */
	if (got == -1 && f->kind != FAULT_CUT &&
	    stage_has(&k.stage, STAGE_JOURNAL) == 0)
		stage_remove(&k.stage, f);
	receive_free(&k.r);
	tar_read_free(k.r.tar);
	scope_free(&k.scope);
	io_close(k.lines);
	io_close(k.deleted);
	io_close(k.modes);
	stage_close(&k.stage);
	return got;
}

int
unpack_recover(int root, int64_t deadline, struct fault *f)
{
	struct stage s;
	int got;

	if (stage_open(&s, root, UNPACK_STAGE, deadline, f) == -1)
		return -1;
	got = recover(&s, f);
	stage_close(&s);
	return got;
}

int
unpack_recover_left(int root, int64_t deadline, struct fault *f)
{
	int left = stage_is_left(root, UNPACK_STAGE);

	if (left == -1)
		return staging_fault(f);
	return left == 1 ? unpack_recover(root, deadline, f) : 0;
}

int
unpack_partial(int root, int64_t deadline, struct manifest_writer *out,
    struct fault *f)
{
	struct stage s;
	int got = -1, about, journal;

	if (stage_open(&s, root, UNPACK_STAGE, deadline, f) == -1)
		return -1;
	about = stage_has(&s, STAGE_ABOUT);
	journal = stage_has(&s, STAGE_JOURNAL);
	if (about == -1 || journal == -1)
		staging_fault(f);
	else if (about == 0 || journal == 1)
		fault_input(f, span_of("."), "no transfer was cut short");
	else if (stage_again(&s, f) == 0)
		got = staged_result(&s, true, out, f);
	stage_close(&s);
	return got;
}
