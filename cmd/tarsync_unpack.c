/* pc-tarsync unpack, merge, mirror and recover: what changes a tree. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply.h"
#include "cli.h"
#include "io.h"
#include "json.h"
#include "lock.h"
#include "lockdir.h"
#include "mirror.h"
#include "tarsync.h"
#include "unpack.h"

#define PEER_LOCK	".paperclip-restore.lock"

static struct source *
open_archive(const struct tarsync *t)
{
	struct source *s = source_open(STDIN_FILENO,
	    t->base64 ? SOURCE_BASE64 : t->gzip ? SOURCE_GZIP :
	    SOURCE_DETECT);

	if (s == NULL)
		cli_fail_errno("archive");
	return s;
}

static const struct meter *
start_progress(struct tarsync *t, const char *phase)
{
	struct stat st;

	if (t->progress.phase == NULL)
		t->progress.phase = phase;
	if (t->progress.target == NULL) {
		t->progress.direction = "to";
		t->progress.target = t->directory;
	}
	if (t->progress.total == 0 && fstat(STDIN_FILENO, &st) == 0 &&
	    S_ISREG(st.st_mode) && st.st_size > 0)
		t->progress.total = (uint64_t)st.st_size;
	return progress_start(&t->progress);
}

int
tarsync_unpack(struct tarsync *t)
{
	struct fault f = { .kind = FAULT_NONE };
	struct unpack u = { .scope = &t->scope,
	    .scope_given = t->scope_given, .limits = t->limits,
	    .folder_mode = 0777 & ~t->umask, .clean = t->clean,
	    .links_inside = t->links == TARSYNC_LINKS_INSIDE,
	    .manifest = !t->no_manifest, .sync = t->sync,
	    .deadline = tarsync_deadline(t),
	    .notices = tarsync_notices(t) };
	int got;

	u.root = tarsync_root(t, t->directory, true);
	u.source = open_archive(t);
	u.meter = start_progress(t, "Unpacking");
	got = unpack_tree(&u, &f);
	progress_end(&t->progress, got == 0);
	if (got == -1)
		cli_fail_fault(&f);
	source_free(u.source);
	scope_free(&t->scope);
	io_close(u.root);
	return EXIT_YES;
}

/* --- merge --- */

/*
 * What a merge keeps outside the tree, and the locks on it.  They are given
 * back at exit, whatever leads there: a folder that was left would be in the
 * way until somebody finds its holder dead.
 */
static struct state {
	int dir, lock;
	struct lockdir peer;
	bool peer_held;
	char *peer_path;
} state = { .dir = -1, .lock = -1,
    .peer = { .fd = -1, .parent = -1, .folder = -1 } };

static void
release_locks(void)
{
	if (state.peer_held)
		lockdir_release(&state.peer);
	lockdir_close(&state.peer);
	io_close(state.lock);
	io_close(state.dir);
	free(state.peer_path);
}

/* $XDG_STATE_HOME/pc-tools/merge/<device>-<inode>, 0700. */
static int
open_state(int root)
{
	const char *home = getenv("XDG_STATE_HOME"), *sub = "";
	char path[PATH_MAX];
	struct stat st;
	int n, fd;

	if (home == NULL || home[0] != '/') {
		home = getenv("HOME");
		sub = "/.local/state";
	}
	if (home == NULL || home[0] != '/')
		cli_fail(EXIT_NEVER, "HOME", "no place for a merge's journal; "
		    "set XDG_STATE_HOME");
	if (fstat(root, &st) == -1)
		cli_fail_errno("target");
	n = snprintf(path, sizeof(path), "%s%s/pc-tools/merge/%jx-%jx", home,
	    sub, (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	if (n < 0 || (size_t)n >= sizeof(path))
		cli_fail(EXIT_NEVER, home, strerror(ENAMETOOLONG));
	if (cli_make_folders(path, 0700) == -1)
		cli_fail_errno(path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		cli_fail_errno(path);
	return fd;
}

static _Noreturn void
time_out(const char *lock)
{
	char *text;

	if (asprintf(&text, "Timed out waiting for workspace restore lock "
	    "at %s", lock) == -1)
		text = NULL;
	cli_fail(EXIT_LATER, NULL, text != NULL ? text : strerror(ENOMEM));
}

/* One merge at a time: ours by the kernel's lock, peers by their folder. */
static void
take_locks(const struct tarsync *t, int root)
{
	struct state *s = &state;
	char *real = realpath(t->directory, NULL);
	int64_t deadline = tarsync_deadline(t);

	if (real == NULL)
		cli_fail_errno(t->directory);
	if (atexit(release_locks) != 0)
		cli_fail_memory(EXIT_LATER);
	if (asprintf(&s->peer_path, "%s" PEER_LOCK, real) == -1) {
		s->peer_path = NULL;
		cli_fail_memory(EXIT_LATER);
	}
	free(real);
	s->dir = open_state(root);
	switch (lock_acquire(s->dir, "lock", LOCK_EXCLUSIVE, deadline,
	    &s->lock)) {
	case LOCK_TAKEN:
		break;
	case LOCK_BUSY:
		time_out(s->peer_path);
	case LOCK_FAILED:
		cli_fail_errno(s->peer_path);
	}
	if (lockdir_open(&s->peer, s->peer_path) == -1)
		cli_fail_errno(s->peer_path);
	switch (lockdir_acquire(&s->peer, "pc-tarsync", deadline)) {
	case LOCK_TAKEN:
		s->peer_held = true;
		break;
	case LOCK_BUSY:
		time_out(s->peer_path);
	case LOCK_FAILED:
		/* Where we may not write, no peer of ours can either. */
		if (errno != EACCES && errno != EROFS && errno != EPERM)
			cli_fail_errno(s->peer_path);
		break;
	}
}

/* --- the report --- */

struct totals {
	uint64_t applied, deleted, kept, conflicts, held;
};

static const char *const action_names[] = { "none", "applied", "deleted",
    "kept", "merged", "held" };
static const char *const reason_names[] = { "none", "protected", "link",
    "parent", "git" };

static void
count(struct totals *n, const struct journal_record *r)
{
	switch (r->action) {
	case ACTION_APPLIED:
	case ACTION_MERGED:
		n->applied++;
		break;
	case ACTION_DELETED:
		n->deleted++;
		break;
	case ACTION_KEPT:
		n->kept++;
		break;
	case ACTION_HELD:
		n->held++;
		break;
	case ACTION_NONE:
		break;
	}
	if (r->flags & JOURNAL_CONFLICT)
		n->conflicts++;
}

static void
put_saved(struct buf *line, struct span run, struct span path)
{
	struct buf name = { .data = NULL };

	buf_add_str(&name, SCOPE_RUNTIME "/" CONFLICTS "/");
	buf_add_span(&name, run);
	buf_add_char(&name, '/');
	buf_add_span(&name, path);
	if (buf_failed(&name))
		cli_fail_memory(EXIT_LATER);
	manifest_put_path(line, "saved", buf_span(&name));
	buf_free(&name);
}

static int
report(void *arg, const struct journal_record *r, struct span run)
{
	struct buf line = { .data = NULL };

	count(arg, r);
	buf_add_char(&line, '{');
	manifest_put_path(&line, "path", r->path);
	json_put_key(&line, "action");
	json_put_string(&line, span_of(action_names[r->action]));
	json_put_key(&line, "conflict");
	buf_add_str(&line, r->flags & JOURNAL_CONFLICT ? "true" : "false");
	if (r->reason != HELD_NONE) {
		json_put_key(&line, "reason");
		json_put_string(&line, span_of(reason_names[r->reason]));
	}
	if (r->saved)
		put_saved(&line, run, r->path);
	buf_add_str(&line, "}\n");
	cli_out_buf(&line);
	buf_free(&line);
	return 0;
}

static void
report_totals(const struct totals *n)
{
	const struct {
		const char *key;
		uint64_t value;
	} all[] = {
		{ "applied", n->applied }, { "deleted", n->deleted },
		{ "kept", n->kept }, { "conflicts", n->conflicts },
		{ "held", n->held },
	};
	struct buf line = { .data = NULL };
	size_t i;

	buf_add_char(&line, '{');
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		json_put_key(&line, all[i].key);
		buf_add_int(&line, (int64_t)all[i].value);
	}
	buf_add_str(&line, "}\n");
	cli_out_buf(&line);
	buf_free(&line);
}

static void
surprise(void *arg, struct span path, bool saved)
{
	struct buf name = { .data = NULL };

	(void)arg;
	buf_add_span(&name, path);
	buf_add_char(&name, '\0');
	if (!buf_failed(&name))
		cli_warn(name.data, saved ? "changed while merging; that "
		    "version is in the conflicts folder" : "its folder "
		    "changed while merging; the source's version is in the "
		    "conflicts folder");
	buf_free(&name);
}

int
tarsync_merge(struct tarsync *t)
{
	struct fault f = { .kind = FAULT_NONE };
	struct manifest_writer source = { .fd = -1 };
	struct statcache_writer stats = { .fd = -1 };
	struct outfile out = { .path = NULL }, cache = { .path = NULL };
	char *cache_path = NULL;
	struct totals n = { .applied = 0 };
	struct merge m = { .limits = t->limits, .policy = t->policy,
	    .links_inside = t->links != TARSYNC_LINKS_ANY,
	    .allow_protected = t->allow_protected, .dry_run = t->dry_run,
	    .sync = t->sync, .deadline = tarsync_deadline(t),
	    .notices = tarsync_notices(t), .report = report,
	    .surprise = surprise, .arg = &n };
	char id[MANIFEST_ID_SIZE];
	int got;

	if (t->before == NULL)
		cli_usage("merge needs --baseline");
	m.root = tarsync_root(t, t->directory, false);
	m.baseline = tarsync_manifest(t->before);
	(void)tarsync_scope(t, m.baseline);
	m.cache = tarsync_cache(t->before, CACHE_SUFFIX);
	take_locks(t, m.root);
	m.state = state.dir;
	m.source = open_archive(t);
	m.meter = start_progress(t, "Merging");
	if (t->manifest != NULL) {
		outfile_open(&out, t->manifest, t->umask);
		source.fd = out.fd;
		m.source_manifest = &source;
		if (asprintf(&cache_path, "%s" CACHE_SUFFIX,
		    t->manifest) == -1)
			cli_fail_memory(EXIT_LATER);
		outfile_open(&cache, cache_path, t->umask);
		stats.fd = cache.fd;
		m.source_cache = &stats;
	}
	got = merge_tree(&m, &f);
	progress_end(&t->progress, got == 0);
	if (got >= 0 && t->manifest != NULL &&
	    (manifest_end(&source, id) == -1 || statcache_end(&stats) == -1))
		got = fault_system(&f, span_of(t->manifest));
	if (got == -1)
		cli_fail_fault(&f);
	report_totals(&n);
	if (got == 0) {
		outfile_commit(&cache);
		outfile_commit(&out);
	} else {
		outfile_abandon_all();
	}
	manifest_writer_free(&source);
	statcache_writer_free(&stats);
	free(cache_path);
	source_free(m.source);
	statcache_free(m.cache);
	manifest_free(m.baseline);
	scope_free(&t->scope);
	io_close(m.root);
	return got == 1 ? EXIT_NO : EXIT_YES;
}

/* --- recover --- */

int
tarsync_recover(struct tarsync *t)
{
	struct fault f = { .kind = FAULT_NONE };
	int root = tarsync_root(t, t->directory, false), got;

	take_locks(t, root);
	got = merge_recover(root, state.dir, tarsync_deadline(t), &f);
	if (got != -1)
		got = unpack_recover_left(root, tarsync_deadline(t), &f);
	if (got != -1)
		got = mirror_recover(root, tarsync_deadline(t), &f);
	if (got == -1)
		cli_fail_fault(&f);
	io_close(root);
	return EXIT_YES;
}

/* --- mirror --- */

/* The folder at path, or the one that it would be made in; -1. */
static int
open_nearest(const char *path)
{
	char *copy = strdup(path);
	size_t n = strlen(path);
	int fd = -1;

	while (copy != NULL) {
		fd = open(n > 0 ? copy : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd != -1 || errno != ENOENT || n == 0)
			break;
		while (n > 1 && copy[n - 1] == '/')
			n--;
		while (n > 0 && copy[n - 1] != '/')
			n--;
		copy[n] = '\0';
	}
	free(copy);
	return fd;
}

/* A folder that is in another, or is it, cannot be made equal to that. */
static void
check_apart(const struct tarsync *t, int inner, int outer)
{
	char *both;
	int got = mirror_is_in(inner, outer);

	if (got == -1)
		cli_fail_errno(t->operands[1]);
	if (got == 0)
		return;
	if (asprintf(&both, "%s and %s", t->operands[0],
	    t->operands[1]) == -1)
		both = t->operands[1];
	cli_fail(EXIT_NEVER, both, "the same folder, or one is in the other");
}

int
tarsync_mirror(struct tarsync *t)
{
	struct fault f = { .kind = FAULT_NONE };
	struct mirror m = { .scope = &t->scope, .checksum = t->checksum,
	    .deadline = tarsync_deadline(t), .notices = tarsync_notices(t) };
	int near;

	m.from = tarsync_root(t, t->operands[0], false);
	/* Before any folder is made. */
	if ((near = open_nearest(t->operands[1])) != -1)
		check_apart(t, near, m.from);
	io_close(near);
	m.to = tarsync_root(t, t->operands[1], true);
	check_apart(t, m.to, m.from);
	check_apart(t, m.from, m.to);
	if (mirror_tree(&m, &f) == -1)
		cli_fail_fault(&f);
	scope_free(&t->scope);
	io_close(m.from);
	io_close(m.to);
	return EXIT_YES;
}
