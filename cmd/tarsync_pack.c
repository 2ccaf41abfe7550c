/* pc-tarsync pack, snapshot and diff: what reads a tree. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "compare.h"
#include "io.h"
#include "json.h"
#include "pack.h"
#include "tarsync.h"
#include "unpack.h"

/* A tree that is read is first brought to its end, if a change was cut. */
static int
open_tree(const struct tarsync *t, const char *path)
{
	struct fault f = { .kind = FAULT_NONE };
	int root = tarsync_root(t, path, false);

	if (unpack_recover_left(root, tarsync_deadline(t), &f) == -1)
		cli_fail_fault(&f);
	return root;
}

static int
open_output(struct outfile *o, const struct tarsync *t)
{
	if (t->output == NULL)
		return STDOUT_FILENO;
	outfile_open(o, t->output, t->umask);
	return o->fd;
}

/* --- pack --- */

/* The manifest of what is sent, and its cache. */
struct recording {
	struct outfile manifest, cache;
	char *cache_path;
	struct manifest_writer writer;
	struct statcache_writer stats;
};

static void
record_begin(struct recording *r, const struct tarsync *t)
{
	const char *path = t->manifest;

	outfile_open(&r->manifest, path, t->umask);
	if (asprintf(&r->cache_path, "%s" CACHE_SUFFIX, path) == -1)
		cli_fail(EXIT_LATER, path, strerror(ENOMEM));
	outfile_open(&r->cache, r->cache_path, t->umask);
	r->writer.fd = r->manifest.fd;
	r->stats.fd = r->cache.fd;
}

static void
record_end(struct recording *r)
{
	char id[MANIFEST_ID_SIZE];

	if (manifest_end(&r->writer, id) == -1 ||
	    statcache_end(&r->stats) == -1)
		cli_fail_errno(r->manifest.path);
	outfile_commit(&r->cache);
	outfile_commit(&r->manifest);
	manifest_writer_free(&r->writer);
	statcache_writer_free(&r->stats);
	free(r->cache_path);
}

static void
start_progress(struct tarsync *t, struct pack *p)
{
	struct fault f = { .kind = FAULT_NONE };

	if (t->progress.phase == NULL)
		t->progress.phase = "Packing";
	if (t->progress.target == NULL) {
		t->progress.direction = "from";
		t->progress.target = t->directory;
	}
	if (progress_wanted(t->progress.plain) && t->progress.total == 0 &&
	    pack_measure(p, &t->progress.total, &f) == -1)
		cli_fail_fault(&f);
	p->meter = progress_start(&t->progress);
}

int
tarsync_pack(struct tarsync *t)
{
	struct fault f = { .kind = FAULT_NONE };
	struct recording record = { .cache_path = NULL };
	struct outfile out = { .path = NULL };
	struct pack p = { .scope = &t->scope, .follow = t->follow,
	    .notices = tarsync_notices(t) };
	int got;

	if (t->follow && t->before != NULL)
		cli_usage("-L packs a whole tree, not what changed");
	p.root = open_tree(t, t->directory);
	if (t->before != NULL) {
		p.since = tarsync_manifest(t->before);
		p.scope = tarsync_scope(t, p.since);
		p.cache = tarsync_cache(t->before, CACHE_SUFFIX);
	}
	p.sink = sink_open(open_output(&out, t),
	    t->gzip ? 1 : 0, t->base64);
	if (p.sink == NULL)
		cli_fail_errno("archive");
	start_progress(t, &p);
	if (t->manifest != NULL) {
		record_begin(&record, t);
		p.manifest = &record.writer;
		p.new_cache = &record.stats;
	}
	got = pack_tree(&p, &f);
	progress_end(&t->progress, got == 0);
	if (got == -1)
		cli_fail_fault(&f);
	if (t->manifest != NULL)
		record_end(&record);
	outfile_commit(&out);
	sink_free(p.sink);
	manifest_free(p.since);
	statcache_free(p.cache);
	scope_free(&t->scope);
	io_close(p.root);
	return EXIT_YES;
}

/* --- snapshot --- */

static void
take_partial(struct tarsync *t, int root, struct manifest_writer *m)
{
	struct fault f = { .kind = FAULT_NONE };

	if (unpack_partial(root, tarsync_deadline(t), m, &f) == -1)
		cli_fail_fault(&f);
}

static void
take_whole(struct tarsync *t, int root, struct manifest_writer *m)
{
	struct fault f = { .kind = FAULT_NONE };
	struct statcache_writer stats = { .fd = -1 };
	struct outfile file = { .path = NULL };
	struct statcache *old = NULL;

	if (t->cache != NULL) {
		old = tarsync_cache(t->cache, "");
		outfile_open(&file, t->cache, t->umask);
		stats.fd = file.fd;
	}
	if (tree_snapshot(root, &t->scope, old, m,
	    t->cache != NULL ? &stats : NULL, tarsync_notices(t), &f) == -1)
		cli_fail_fault(&f);
	if (t->cache != NULL && statcache_end(&stats) == -1)
		cli_fail_errno(t->cache);
	outfile_commit(&file);
	statcache_writer_free(&stats);
	statcache_free(old);
}

int
tarsync_snapshot(struct tarsync *t)
{
	struct outfile out = { .path = NULL };
	struct manifest_writer m = { .fd = -1 };
	char id[MANIFEST_ID_SIZE];
	int root = open_tree(t, t->directory);

	m.fd = open_output(&out, t);
	if (t->partial)
		take_partial(t, root, &m);
	else
		take_whole(t, root, &m);
	if (manifest_end(&m, id) == -1)
		cli_fail_errno(t->output != NULL ? t->output : "stdout");
	outfile_commit(&out);
	manifest_writer_free(&m);
	scope_free(&t->scope);
	io_close(root);
	return EXIT_YES;
}

/* --- diff --- */

static const char *const change_names[] = { "none", "added", "deleted",
    "content", "mode", "target", "type" };

static void
print_change(struct span path, enum entry_change change)
{
	struct buf line = { .data = NULL };

	buf_add_char(&line, '{');
	manifest_put_path(&line, "path", path);
	json_put_key(&line, "change");
	json_put_string(&line, span_of(change_names[change]));
	buf_add_str(&line, "}\n");
	cli_out_buf(&line);
	buf_free(&line);
}

static bool
diff_manifests(const char *one, const char *other)
{
	struct fault f = { .kind = FAULT_NONE };
	struct manifest *a = tarsync_manifest(one);
	struct manifest *b = tarsync_manifest(other);
	const struct entry *x, *y = NULL;
	enum entry_change change;
	bool any = false, failed;
	int order;

	for (;;) {
		x = manifest_peek(a, &f, &failed);
		if (!failed)
			y = manifest_peek(b, &f, &failed);
		if (failed)
			cli_fail_fault(&f);
		if (x == NULL && y == NULL)
			break;
		order = x == NULL ? 1 : y == NULL ? -1 :
		    path_compare(x->path, y->path);
		change = order < 0 ? CHANGE_DELETED : order > 0 ?
		    CHANGE_ADDED : entry_change(x, y);
		if (change != CHANGE_NONE) {
			print_change(order <= 0 ? x->path : y->path, change);
			any = true;
		}
		if (order <= 0)
			manifest_next(a);
		if (order >= 0)
			manifest_next(b);
	}
	manifest_free(a);
	manifest_free(b);
	return any;
}

static bool
diff_tree(struct tarsync *t, const char *path, const char *folder)
{
	struct span none = { NULL, 0 };
	struct fault f = { .kind = FAULT_NONE };
	struct manifest *m = tarsync_manifest(path);
	struct statcache *cache = tarsync_cache(path, CACHE_SUFFIX);
	struct compare_item item;
	struct compare *c;
	bool any = false;
	int root, got;

	t->before = path;
	root = open_tree(t, folder);
	c = compare_open(root, none, tarsync_scope(t, m), m, cache,
	    tarsync_notices(t), &f);
	if (c == NULL)
		cli_fail_fault(&f);
	while ((got = compare_next(c, &item, &f)) == 1)
		if (item.change != CHANGE_NONE) {
			print_change(item.path, item.change);
			any = true;
		}
	if (got == -1)
		cli_fail_fault(&f);
	compare_free(c);
	statcache_free(cache);
	manifest_free(m);
	io_close(root);
	return any;
}

int
tarsync_diff(struct tarsync *t)
{
	struct stat st;
	bool any;

	if (stat(t->operands[1], &st) == 0 && S_ISDIR(st.st_mode))
		any = diff_tree(t, t->operands[0], t->operands[1]);
	else
		any = diff_manifests(t->operands[0], t->operands[1]);
	scope_free(&t->scope);
	return any ? EXIT_NO : EXIT_YES;
}
